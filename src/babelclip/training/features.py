"""What a frozen image encoder says of pictures, computed once and kept on disk.

A picture is seen whole, and in other views: mirrored, and cut out of it at random (Szegedy et al. 2015), so that a head
trained on few pictures does not learn them by heart.
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
"""Of a view cut out of a picture, against the whole."""
MAX_STRETCH = 0.25
"""Natural logarithm of the most that a view's proportions differ from the picture's."""


@dataclass(frozen=True, slots=True)
class Features:
    """``values[i, j]``: float32 (pictures, views, width), what the encoder says of view j of picture ``names[i]``."""

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
    """The features of a set of pictures, from disk where they were computed before.

    :param spec: the image tower
    :param fingerprint: what tells its weights from others
    :param source: what tells the set from others, such as its checksum
    :param pictures: names and bytes of files; those that cannot be read are left out
    :param views: how many a picture; the first is the picture as the tower itself sees it
    :param progress: is told how many pictures are done
    :return: names and features
    """
    digest = blake2b(f"{fingerprint} {source} {views}".encode(), digest_size=16).hexdigest()
    file = settings().home / "features" / f"{digest}.npz"
    if file.is_file():
        with np.load(file) as stored:
            return Features([str(name) for name in stored["names"]], stored["values"].astype(np.float32))
    found = _compute(spec, pictures, views, progress or (lambda _: None))
    file.parent.mkdir(parents=True, exist_ok=True)
    partial = file.with_suffix(".part.npz")
    np.savez(partial, names=np.array(found.names), values=found.values.astype(np.float16))
    partial.replace(file)
    return found


def _compute(
    spec: ImageSpec, pictures: Iterable[tuple[str, bytes]], views: int, progress: Callable[[int], None]
) -> Features:
    """The features of pictures, batch by batch."""
    session = load_runtime(settings().runtime).compile(
        build_image_graph(spec, features=True), precision="float32", threads=settings().threads
    )
    names: list[str] = []
    rows: list[FloatArray] = []

    def seen() -> Iterator[Pixels]:
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

    for batch in chunks(seen(), BATCH):
        rows.append(session.run({"pixels": np.stack(batch)}))
    width = rows[0].shape[1] if rows else 0
    stacked = np.concatenate(rows) if rows else np.empty((0, 0), dtype=np.float32)
    return Features(names, stacked.reshape(len(names), views, width))


def _view(image: Image.Image, number: int, rng: np.random.Generator) -> Image.Image:
    """A view of a picture: 0 is itself, 1 its mirror image, the others are cut out at random."""
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
    """What tells a set of pictures from another: where it is, its size and when it was changed.

    :param path: a tar file or a folder
    :return: a line
    """
    files = sorted(path.iterdir()) if path.is_dir() else [path]
    parts = [f"{file.name} {file.stat().st_size} {file.stat().st_mtime_ns}" for file in files]
    return f"{path.resolve()} " + blake2b("\n".join(parts).encode(), digest_size=16).hexdigest()
