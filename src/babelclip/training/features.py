"""Features that a frozen image encoder computes for pictures, cached on disk.

The views of a picture are the picture, its mirror image and random crops (Szegedy et al. 2015), which reduce the
overfitting of a head that is trained on few pictures.
"""

import math
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from hashlib import blake2b
from pathlib import Path

import numpy as np
from PIL import Image

from babelclip.checkpoints.specs import ImageSpec
from babelclip.errors import ImageError
from babelclip.graphs import build_image_graph
from babelclip.media.images import Pixels, read_image, to_pixels
from babelclip.pipeline import chunks
from babelclip.runtimes import load_runtime
from babelclip.settings import settings
from babelclip.vectors import FloatArray

BATCH = 16
MIN_AREA = 0.5
"""Smallest area of a random crop, as a share of the picture."""
MAX_STRETCH = 0.25
"""Natural logarithm of the largest change of the aspect ratio."""


@dataclass(frozen=True, slots=True)
class Features:
    """Encoder features, float32 (pictures, views, width): ``values[i, j]`` is of view j of picture ``names[i]``."""

    names: list[str]
    values: FloatArray


def read_features(
    spec: ImageSpec,
    fingerprint: str,
    source: str,
    pictures: Iterable[tuple[str, bytes]],
    *,
    views: int = 1,
    progress: Callable[[int], None] | None = None,
) -> Features:
    """Read the features of a set of pictures from the cache, or compute them.

    :param spec: the image tower
    :param fingerprint: fingerprint of the tower's weights
    :param source: identity of the set, such as its checksum
    :param pictures: names and bytes of files; unreadable files are left out
    :param views: number of views of a picture; the first is the unchanged picture
    :param progress: receives the number of processed pictures
    :return: names and features
    """
    digest = blake2b(f"{fingerprint} {source} {views}".encode(), digest_size=16).hexdigest()
    file = settings().home / "features" / f"{digest}.npz"
    if file.is_file():
        with np.load(file) as stored:
            return Features([str(name) for name in stored["names"]], stored["values"].astype(np.float32))
    features = _compute(spec, pictures, views, progress or (lambda _: None))
    file.parent.mkdir(parents=True, exist_ok=True)
    partial = file.with_suffix(".part.npz")
    np.savez(partial, names=np.array(features.names), values=features.values.astype(np.float16))
    partial.replace(file)
    return features


def _compute(
    spec: ImageSpec, pictures: Iterable[tuple[str, bytes]], views: int, progress: Callable[[int], None]
) -> Features:
    """Compute the features of pictures in batches."""
    session = load_runtime(settings().runtime).compile(
        build_image_graph(spec, features=True), precision="float32", threads=settings().threads
    )
    names: list[str] = []
    rows: list[FloatArray] = []

    def pixels() -> Iterator[Pixels]:
        for number, (name, content) in enumerate(pictures):
            try:
                image = read_image(content)
            except ImageError:
                continue
            names.append(name)
            rng = np.random.default_rng(number)
            for view in range(views):
                yield to_pixels(_view(image, view, rng), spec.pixels)
            progress(len(names))

    for batch in chunks(pixels(), BATCH):
        rows.append(session.run({"pixels": np.stack(batch)}))
    width = rows[0].shape[1] if rows else 0
    stacked = np.concatenate(rows) if rows else np.empty((0, 0), dtype=np.float32)
    return Features(names, stacked.reshape(len(names), views, width))


def _view(image: Image.Image, number: int, rng: np.random.Generator) -> Image.Image:
    """Make a view of a picture: 0 is the picture, 1 its mirror image, the others are random crops."""
    if number == 0:
        return image
    if number > 1:
        area, stretch = rng.uniform(MIN_AREA, 1.0), math.exp(rng.uniform(-MAX_STRETCH, MAX_STRETCH))
        width = min(image.width, max(1, round(image.width * math.sqrt(area) * stretch)))
        height = min(image.height, max(1, round(image.height * math.sqrt(area) / stretch)))
        left = int(rng.integers(0, image.width - width + 1))
        top = int(rng.integers(0, image.height - height + 1))
        image = image.crop((left, top, left + width, top + height))
    return image.transpose(Image.Transpose.FLIP_LEFT_RIGHT) if number == 1 or rng.random() < 0.5 else image


def source_of(path: Path) -> str:
    """Identify a set of pictures by its path and the sizes and modification times of its files.

    :param path: a tar file or a folder
    :return: the identity, one line
    """
    files = sorted(path.iterdir()) if path.is_dir() else [path]
    parts = [f"{file.name} {file.stat().st_size} {file.stat().st_mtime_ns}" for file in files]
    return f"{path.resolve()} " + blake2b("\n".join(parts).encode(), digest_size=16).hexdigest()
