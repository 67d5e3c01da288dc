"""Parity: the same folder through babelclip and through the code of its authors, compared row by row."""

import tempfile
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from PIL import Image

from babelclip.benchmark import reference
from babelclip.benchmark.samples import ALL
from babelclip.media.images import read_image
from babelclip.models.model import Model
from babelclip.vectors import FloatArray, unit_rows

MIN_COSINE = 0.99999
MAX_DIFFERENCE = 1e-4

_PHOTO_SIZES = ((480, 640), (640, 480), (224, 224), (100, 351), (37, 41), (1201, 800))
_MODES = ("RGB", "RGBA", "L", "LA", "P", "1", "CMYK", "YCbCr", "I;16", "F")


@dataclass(frozen=True, slots=True)
class ParityRow:
    """One folder on one runtime: the worst cosine, and the largest difference between unit rows."""

    case: str
    runtime: str
    rows: int
    min_cosine: float
    max_difference: float

    @property
    def holds(self) -> bool:
        """Whether it is within the bounds."""
        return self.min_cosine >= MIN_COSINE and self.max_difference <= MAX_DIFFERENCE


@dataclass(frozen=True, slots=True)
class Sizes:
    """How large the reference models are."""

    text: reference.Size
    vocabulary: int
    vision: reference.Size
    clip_text: reference.Size


SMALL = Sizes(reference.SMALL, 0, reference.SMALL, reference.SMALL)
PUBLISHED = Sizes(reference.DISTILBERT, 119547, reference.CLIP_VISION, reference.CLIP_TEXT)


def compare(case: str, runtime: str, ours: FloatArray, theirs: FloatArray) -> ParityRow:
    """The figures of one case.

    :param case: its name
    :param runtime: the engine's name
    :param ours: float32 (n, d), raw
    :param theirs: float32 (n, d), raw
    :return: the row
    """
    a, b = unit_rows(ours), unit_rows(theirs)
    cosines = np.sum(a.astype(np.float64) * b, axis=1)
    return ParityRow(case, runtime, len(a), float(cosines.min()), float(np.abs(a - b).max()))


def sample_images(photos: Sequence[Path] = ()) -> list[Image.Image]:
    """Images of many sizes and all modes, as RGB, and photos if there are any.

    :param photos: files of photos
    :return: RGB images
    """
    rng = np.random.default_rng(0)
    images = []
    for i, (height, width) in enumerate(_PHOTO_SIZES * 2):
        coarse = rng.integers(0, 256, (max(2, height // 16), max(2, width // 16), 4), dtype=np.uint8)
        smooth = Image.fromarray(coarse).resize((width, height), Image.Resampling.BICUBIC)
        images.append(read_image(_in_mode(smooth, _MODES[i % len(_MODES)])))
    return images + [read_image(photo) for photo in photos]


def _in_mode(image: Image.Image, mode: str) -> Image.Image:
    """An RGBA image in another mode."""
    if mode == "I;16":
        return Image.fromarray(np.asarray(image.convert("L")).astype(np.uint16) * 257)
    if mode == "F":
        return Image.fromarray(np.asarray(image.convert("L")).astype(np.float32) / 255)
    return image if mode == "RGBA" else image.convert("RGB").convert(mode)


def run_parity(
    sizes: Sizes,
    runtimes: Sequence[str],
    *,
    photos: Sequence[Path] = (),
    progress: Callable[[str], None] | None = None,
) -> list[ParityRow]:
    """Build reference folders in every published form, and compare.

    :param sizes: how large
    :param runtimes: the engines to try
    :param photos: files of photos to encode beside the made images
    :param progress: is told what is under way
    :return: a row a folder and runtime
    """
    rows: list[ParityRow] = []
    images = sample_images(photos)

    def check(case: str, theirs: FloatArray, *, text: Path | None = None, image: Path | None = None) -> None:
        for runtime in runtimes:
            if progress is not None:
                progress(f"{case}, {runtime}")
            model = Model.load(text=text, image=image, runtime=runtime)
            ours = model.encode_text(ALL, unit=False) if text else model.encode_images(images, unit=False)
            rows.append(compare(case, runtime, ours, theirs))

    with tempfile.TemporaryDirectory(prefix="babelclip-parity-") as scratch:
        root = Path(scratch)
        _check_text_folders(root, sizes, check)
        clip = root / "clip"
        reference.save_clip_model(clip, ALL, vision=sizes.vision, text=sizes.clip_text)
        reference.save_as_clip_vit_b_32(clip, root / "clip-ViT-B-32")
        reference.save_vision_only(clip, root / "vision")
        vectors = reference.image_vectors(clip, images)
        check("CLIP image, transformers CLIPModel", vectors, image=clip)
        check("CLIP image, 0_CLIPModel with pytorch_model.bin", vectors, image=root / "clip-ViT-B-32")
        check("CLIP image, CLIPVisionModelWithProjection", vectors, image=root / "vision")
        english = reference.clip_text_vectors(clip, ALL)
        check("CLIP text (the teacher)", english, text=clip)
        check("CLIP text, vocab.json and merges.txt", english, text=root / "clip-ViT-B-32")
    return rows


def _check_text_folders(root: Path, sizes: Sizes, check: Callable[..., None]) -> None:
    """The text towers: each family as sentence-transformers saves it now, and the published one as in 2021."""
    families: tuple[tuple[reference.TextFamily, bool], ...] = (
        ("distilbert", False),
        ("bert", True),
        ("xlm-roberta", True),
    )
    for family, normalize in families:
        folder = root / family
        reference.save_text_model(
            folder, ALL, family=family, size=sizes.text, vocabulary=sizes.vocabulary, normalize=normalize
        )
        theirs = reference.text_vectors(folder, ALL)
        check(f"{family}, sentence-transformers 6 form", theirs, text=folder)
        if family == "distilbert":
            reference.rewrite_as_published(folder)
            check("distilbert, published form with pytorch_model.bin", theirs, text=folder)


def as_markdown(rows: Sequence[ParityRow], *, source: str) -> str:
    """The table as a page.

    :param rows: what was measured
    :param source: how it was made
    :return: Markdown
    """
    lines = [
        "# Parity with the reference implementation",
        "",
        source,
        "",
        f"Bounds: cosine >= {MIN_COSINE} for every row, largest difference of unit rows <= {MAX_DIFFERENCE:g}.",
        "",
        "| folder | runtime | rows | worst cosine | largest difference | holds |",
        "|---|---|---:|---:|---:|---|",
    ]
    lines += [
        f"| {row.case} | {row.runtime} | {row.rows} | {row.min_cosine:.8f} | {row.max_difference:.1e} | "
        f"{'yes' if row.holds else 'NO'} |"
        for row in rows
    ]
    return "\n".join(lines) + "\n"
