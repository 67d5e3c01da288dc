"""Making what engines are measured on: models of seeded random weights at real sizes, texts, pictures, large JPEGs."""

import json
import shutil
from collections.abc import Callable, Sequence
from dataclasses import asdict
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from PIL import ExifTags, Image

from babelclip.benchmark.samples import SCRIPTS
from babelclip.checkpoints.layouts import read_image_spec, read_text_spec
from babelclip.errors import InputError
from babelclip.filesystem import whole_folder
from babelclip.graphs import build_image_graph, build_text_graph
from babelclip.models.model import Model
from babelclip.models.quantize import quantize
from babelclip.models.registry import ModelFolders
from babelclip.text.tokenizer import TextTokenizer
from babelclip.vectors import FloatArray
from benchmarks.speed.fixtures import REAL, SAMPLE_TEXTS, SMALL, WORDS_A_TEXT, Counts, Fixtures
from benchmarks.speed.flops import multiply_adds

SAMPLE_PICTURES = 48
"""What int8 is calibrated on; enough for the ranges of a speed measurement."""
SAMPLE_SIDE = 256
JPEG_QUALITY = 90
FIELDS = 4
"""Different noise fields; every large file is another mix of them."""
NOISE = (1.2, 0.5, 0.5)
"""Levels of what a camera leaves of its sensor's noise in light and colours: it makes photos files of about 4 MB."""

LENS = 0.25
"""Cycles a pixel where a lens and what a camera does with its pixels leave about a third of the contrast."""

LogCallback = Callable[[str], None]


def build_fixtures(root: Path, *, small: bool, models: bool, files: bool, say: LogCallback) -> Fixtures:
    """Make what is not there yet.

    :param root: the folder that keeps it
    :param small: tiny models and pictures, in seconds
    :param models: whether models are needed
    :param files: whether the large JPEGs are needed
    :param say: is told what is under way
    :return: where it is
    :raises InputError: if the folder holds things of another size
    :raises MissingDependencyError: if models are needed and sentence-transformers is not installed
    """
    counts = SMALL if small else REAL
    fixtures = Fixtures(root)
    root.mkdir(parents=True, exist_ok=True)
    if (root / "facts.json").is_file() and fixtures.counts != counts:
        raise InputError(f"{root} holds fixtures of another size; give another --scratch")
    if not (root / "facts.json").is_file():
        _write_facts(root, {"counts": asdict(counts), "words": _words()})
    if models and not fixtures.pair.is_dir():
        _make_models(fixtures, counts, small=small, say=say)
    for name, width, height in (("pictures", counts.width, counts.height), ("squares", _side(small), _side(small))):
        if not (root / name).is_dir():
            _make_pictures(root / name, counts.pictures, width, height)
    if models and not fixtures.exact("text").parent.is_dir():
        say("encoding in float32")
        _make_exact(fixtures)
    if files and not fixtures.files.is_dir():
        say(f"making {counts.files} JPEGs of {counts.megapixels} megapixels")
        _make_files(fixtures.files, counts)
    return fixtures


def _write_facts(root: Path, facts: dict[str, object]) -> None:
    (root / "facts.json").write_text(json.dumps(facts, ensure_ascii=False, indent=1) + "\n", encoding="utf-8")


def _words() -> list[str]:
    """Words of many scripts, each a token of the models made here."""
    found = {word for text in SCRIPTS.values() for word in text.split() if len(word) > 1 and word.isalpha()}
    return sorted(found)


def _side(small: bool) -> int:
    """The square that the image tower reads."""
    return 32 if small else 224


def _make_models(fixtures: Fixtures, counts: Counts, *, small: bool, say: LogCallback) -> None:
    """The two towers in the published layouts, and the pair calibrated for int8."""
    from benchmarks.parity import PUBLISHED
    from benchmarks.parity import SMALL as TINY
    from tests.helpers import reference_models

    sizes = TINY if small else PUBLISHED
    words = fixtures.facts["words"]
    for folder in (fixtures.text, fixtures.image):
        shutil.rmtree(folder, ignore_errors=True)
    say("making the text tower")
    reference_models.save_text_model(fixtures.text, words, size=sizes.text, vocabulary=sizes.vocabulary)
    shutil.rmtree(fixtures.text.with_name("text.encoder"))
    _as_published(fixtures.text)
    say("making the image tower")
    reference_models.save_clip_model(fixtures.image, words, vision=sizes.vision, text=sizes.clip_text)
    text, image = read_text_spec(fixtures.text), read_image_spec(fixtures.image)
    usable = [w for w, ids in zip(words, TextTokenizer(text).encode(words), strict=True) if len(ids) == 3]
    side = _side(small)
    say("counting multiply-adds")
    shape = (counts.texts, WORDS_A_TEXT + 2)
    adds = {
        "text": multiply_adds(build_text_graph(text), {"ids": shape, "mask": shape}),
        "tower": multiply_adds(build_image_graph(image), {"pixels": (counts.pictures, side, side, 3)}),
    }
    facts = {**fixtures.facts, "words": usable, "multiply_adds": adds, "width": sizes.text.width}
    _write_facts(fixtures.root, facts)
    samples = fixtures.root / "samples"
    if not samples.is_dir():
        _make_pictures(samples, SAMPLE_PICTURES, SAMPLE_SIDE, SAMPLE_SIDE)
    pair = ModelFolders("pair", fixtures.text, fixtures.image, {})
    pictures = sorted(samples.iterdir())
    # Random weights lose more in int8 than trained ones; their speed is what is asked for.
    quantize(pair, fixtures.pair, fixtures.texts(0, SAMPLE_TEXTS), pictures, least_cosine=-1.0, log_line=say)


def _make_exact(fixtures: Fixtures) -> None:
    """What int8 is compared with."""
    model = Model.load(text=fixtures.text, image=fixtures.image)
    with whole_folder(fixtures.exact("text").parent) as root:
        np.save(root / "text.npy", model.encode_text(fixtures.exact_texts()))
        np.save(root / "tower.npy", model.encode_images(fixtures.pictures(square=True)))


def _as_published(folder: Path) -> None:
    """The file forms of 2021, which every version of sentence-transformers reads, but weights in safetensors."""
    from tests.helpers import reference_models

    parts = (folder, folder / "2_Dense")
    for part in parts:
        shutil.copyfile(part / "model.safetensors", part / "kept")
    reference_models.rewrite_as_published(folder)
    for part in parts:
        (part / "pytorch_model.bin").unlink()
        (part / "kept").rename(part / "model.safetensors")


def _make_pictures(folder: Path, count: int, width: int, height: int) -> None:
    """Different pictures of a size, without loss."""
    fields = _fields(max(width, height))
    with whole_folder(folder) as root:
        for i in range(count):
            _picture(fields, i, width, height).save(root / f"{i:03}.png", compress_level=1)


def _make_files(folder: Path, counts: Counts) -> None:
    """Different JPEGs as a camera writes them; every fourth lies on its side."""
    width, height = counts.file_width, counts.file_height
    fields = _fields(max(width, height))
    with whole_folder(folder) as root:
        for i in range(counts.files):
            exif = Image.Exif()
            exif[ExifTags.Base.Make], exif[ExifTags.Base.Model] = "babelclip", "benchmark"
            exif[ExifTags.Base.DateTime] = f"2026:01:01 12:00:{i % 60:02}"
            exif[ExifTags.Base.Orientation] = 6 if i % 4 == 3 else 1
            _picture(fields, i, width, height).save(root / f"{i:03}.jpg", quality=JPEG_QUALITY, exif=exif)


def _fields(side: int) -> Sequence[FloatArray]:
    """Noise whose amplitude falls with the frequency, as that of natural pictures does (Field 1987), behind a lens.

    Each is float32 (side, side), of mean 0 and deviation 1.
    """
    rng = np.random.default_rng(0)
    across = np.fft.fftfreq(side)[:, None].astype(np.float32)
    along = np.fft.rfftfreq(side)[None].astype(np.float32)
    frequency = np.hypot(across, along)
    fall = np.exp(-((frequency / LENS) ** 2)) / np.maximum(frequency, 1 / side)
    found = []
    for _ in range(FIELDS):
        spectrum = np.fft.rfft2(rng.standard_normal((side, side), dtype=np.float32))
        field = np.fft.irfft2(spectrum * fall, s=(side, side)).astype(np.float32)
        found.append((field - field.mean()) / field.std())
    return found


def _picture(fields: Sequence[FloatArray], number: int, width: int, height: int) -> Image.Image:
    """A mix of fields, shifted by the picture's number: light, two weaker colours, a slope, and a sensor's noise."""
    rng = np.random.default_rng(number)
    side = len(fields[0])

    def cut(field: FloatArray) -> FloatArray:
        shifts = rng.integers(0, side, 2)
        return np.roll(field, tuple(int(s) for s in shifts), axis=(0, 1))[:height, :width]

    chosen = rng.permutation(len(fields))
    light, red, blue = (cut(fields[i]) for i in chosen[:3])
    slope = np.linspace(-1, 1, height, dtype=np.float32)[:, None] * rng.uniform(-30, 30)
    planes = (120 + 45 * light + slope, 128 + 10 * red, 128 + 10 * blue)
    noisy: list[NDArray[np.uint8]] = []
    for plane, level in zip(planes, NOISE, strict=True):
        grain = rng.standard_normal((height, width), dtype=np.float32) * level
        noisy.append(np.clip(plane + grain, 0, 255).astype(np.uint8))
    return Image.merge("YCbCr", [Image.fromarray(plane) for plane in noisy]).convert("RGB")
