"""Parity: vectors of a model by babelclip and by the reference implementations, compared row by row."""

import tempfile
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path

import numpy as np
from PIL import Image

from babelclip.benchmark import reference
from babelclip.benchmark.samples import ALL
from babelclip.checkpoints.layouts import encoder_folder, read_json
from babelclip.errors import InputError
from babelclip.media.images import read_image
from babelclip.models import registry
from babelclip.models.export import export_folder
from babelclip.models.model import Model
from babelclip.models.registry import ModelFolders
from babelclip.vectors import FloatArray, unit_rows

MIN_COSINE = 0.99999
MAX_DIFFERENCE = 1e-4
COLUMNS = ("folder", "runtime", "rows#", "worst cosine#", "largest difference#")
"""Headings of a table of rows; those that end in "#" are of numbers."""

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

    def cells(self) -> tuple[str, ...]:
        """Format the row under ``COLUMNS``."""
        return (self.case, self.runtime, str(self.rows), f"{self.min_cosine:.8f}", f"{self.max_difference:.1e}")


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


def check_model(
    folders: ModelFolders,
    runtimes: Sequence[str],
    *,
    photos: Sequence[Path] = (),
    progress: Callable[[str], None] = lambda label: None,
) -> list[ParityRow]:
    """Compare the towers of a model with the reference implementations on the same weights.

    Texts are compared with sentence-transformers, or with transformers for a CLIP text tower, images with
    transformers. A tower without a reference implementation is left out, such as the image tower of ``mini``.

    :param folders: the folders of the model's towers
    :param runtimes: the runtimes to compare
    :param photos: files of photos to encode in addition to synthetic images
    :param progress: receives a label for each comparison
    :return: a row per tower and runtime
    :raises InputError: if no tower of the model has a reference implementation
    """
    rows: list[ParityRow] = []
    with tempfile.TemporaryDirectory(prefix="babelclip-parity-") as scratch:
        if folders.manifest:
            export_folder(folders, Path(scratch) / "model")
            folders = registry.from_folder(Path(scratch) / "model", folders.name)
        text = folders.text and text_reference(folders.text)
        image = folders.image and image_reference(folders.image)
        if folders.text and text:
            rows += check_text(f"{folders.name}, text", folders.text, text(ALL), runtimes, progress)
        if folders.image and image:
            images = sample_images(photos)
            rows += check_images(f"{folders.name}, image", folders.image, images, image(images), runtimes, progress)
    if not rows:
        raise InputError(f"{folders.name}: no tower of this model has a reference implementation to compare with")
    return rows


def text_reference(folder: Path) -> Callable[[Sequence[str]], FloatArray] | None:
    """Find the reference implementation of a text tower.

    :param folder: the folder of the tower
    :return: a function from n texts to float32 (n, dimension), raw; None if there is none
    """
    family, encoder = _family(folder)
    if family in ("clip", "clip_text_model"):
        return partial(reference.clip_text_vectors, encoder)
    return partial(reference.text_vectors, folder) if (folder / "modules.json").is_file() else None


def image_reference(folder: Path) -> Callable[[Sequence[Image.Image]], FloatArray] | None:
    """Find the reference implementation of an image tower.

    :param folder: the folder of the tower
    :return: a function from n RGB images to float32 (n, dimension), raw; None if there is none
    """
    family, encoder = _family(folder)
    return partial(reference.image_vectors, encoder) if family in ("clip", "clip_vision_model") else None


def _family(folder: Path) -> tuple[str, Path]:
    """Return the model type of a tower and the folder that holds its encoder."""
    encoder = encoder_folder(folder)
    config = encoder / "config.json"
    return str(read_json(config).get("model_type")) if config.is_file() else "", encoder


def check_text(
    case: str, folder: Path, expected: FloatArray, runtimes: Sequence[str], progress: Callable[[str], None]
) -> list[ParityRow]:
    """Compare a text tower with expected vectors of the sample texts.

    :param case: a label
    :param folder: the folder of the tower
    :param expected: float32 (n, dimension), raw, of ``samples.ALL``
    :param runtimes: the runtimes to compare
    :param progress: receives a label for each comparison
    :return: a row per runtime
    """
    rows = []
    for runtime in runtimes:
        progress(f"{case}, {runtime}")
        ours = Model.load(text=folder, runtime=runtime).encode_text(ALL, unit=False)
        rows.append(compare(case, runtime, ours, expected))
    return rows


def check_images(
    case: str,
    folder: Path,
    images: Sequence[Image.Image],
    expected: FloatArray,
    runtimes: Sequence[str],
    progress: Callable[[str], None],
) -> list[ParityRow]:
    """Compare an image tower with expected vectors.

    :param case: a label
    :param folder: the folder of the tower
    :param images: RGB images
    :param expected: float32 (n, dimension), raw, of the images
    :param runtimes: the runtimes to compare
    :param progress: receives a label for each comparison
    :return: a row per runtime
    """
    rows = []
    for runtime in runtimes:
        progress(f"{case}, {runtime}")
        ours = Model.load(image=folder, runtime=runtime).encode_images(images, unit=False)
        rows.append(compare(case, runtime, ours, expected))
    return rows
