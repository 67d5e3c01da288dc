"""Collections of made vectors, of any size.

The vectors are made from a sample of image vectors, so that their spectrum, their local dimension and the distance
between texts and images are kept: a made vector is one of the sample, moved in the span of its nearest ones and by a
little noise of the sample's covariance. The sample is of pictures that are there, or of drawn ones (shapes in colours).
"""

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import faiss as typed_faiss
import numpy as np
from PIL import Image, ImageDraw

from babelclip.ann.exact import Ids
from babelclip.catalog.catalog import Catalog
from babelclip.catalog.records import ContentRecord, Photo
from babelclip.vectors import FloatArray, unit_rows

# Its stubs tell of C++, not of the Python layer above it.
faiss: Any = typed_faiss

NEAREST = 12
"""Vectors of the sample in whose span a made one moves."""
MOVE, NOISE = 1.0, 0.1
"""How far it moves, as a share of its distance to them; and the share of the covariance that is added."""
BLOCK = 20_000
DRAWN = 400
DRAWN_PIXELS = 96
SEED = 11
MADE_NAME, MADE_FINGERPRINT = "made", "0" * 64


def made_vectors(sample: FloatArray, count: int, seed: int = SEED) -> Iterator[FloatArray]:
    """Vectors such as those of a sample, in blocks.

    :param sample: float32 (n, d), unit rows, n over NEAREST
    :param count: how many
    :param seed: of the random numbers
    :yield: float32 (up to BLOCK, d), unit rows
    """
    rng = np.random.default_rng(seed)
    _, near = nearest_in(sample)
    _, widths, directions = np.linalg.svd(sample - sample.mean(axis=0), full_matrices=False)
    covariance = (directions * widths[:, None] / np.sqrt(len(sample))).astype(np.float32)
    for start in range(0, count, BLOCK):
        rows = min(BLOCK, count - start)
        chosen = rng.integers(0, len(sample), rows)
        steps = rng.standard_normal((rows, NEAREST)).astype(np.float32) * np.float32(MOVE / np.sqrt(NEAREST))
        made = sample[chosen] * (1 - steps.sum(axis=1, keepdims=True))
        for j in range(NEAREST):
            made += steps[:, j : j + 1] * sample[near[chosen, j]]
        noise = rng.standard_normal((rows, len(covariance))).astype(np.float32) @ covariance
        yield unit_rows(made + np.float32(np.sqrt(NOISE)) * noise)


def nearest_in(sample: FloatArray) -> tuple[FloatArray, Ids]:
    """The nearest others of every row.

    :param sample: float32 (n, d), unit rows
    :return: float32 (n, NEAREST) cosines and int64 rows
    """
    index = faiss.IndexFlatIP(sample.shape[1])
    index.add(sample)
    scores, rows = index.search(sample, NEAREST + 1)
    return scores[:, 1:], rows[:, 1:]


def drawn_pictures(count: int = DRAWN, seed: int = SEED) -> Iterator[Image.Image]:
    """Pictures of shapes in colours, for where there are no photos.

    :param count: how many
    :param seed: of the random numbers
    :yield: RGB pictures
    """
    rng = np.random.default_rng(seed)
    for _ in range(count):
        ground = rng.integers(0, 256, (rng.integers(1, 6), rng.integers(1, 6), 3), dtype=np.uint8)
        picture = Image.fromarray(ground).resize(
            (DRAWN_PIXELS, DRAWN_PIXELS), Image.Resampling(int(rng.integers(0, 4)))
        )
        pen = ImageDraw.Draw(picture)
        for _ in range(rng.integers(1, 8)):
            x, y = sorted(rng.integers(0, DRAWN_PIXELS, 2).tolist()), sorted(rng.integers(0, DRAWN_PIXELS, 2).tolist())
            _draw(
                pen, int(rng.integers(0, 3)), (x[0], y[0], x[1] + 1, y[1] + 1), tuple(rng.integers(0, 256, 3).tolist())
            )
        yield picture


def _draw(pen: ImageDraw.ImageDraw, shape: int, box: tuple[int, int, int, int], colour: tuple[int, ...]) -> None:
    """One shape."""
    if shape == 0:
        pen.ellipse(box, fill=colour)
    elif shape == 1:
        pen.rectangle(box, fill=colour)
    else:
        pen.line(box, fill=colour, width=4)


def made_catalog(path: Path, dimension: int) -> Catalog:
    """A catalog for vectors that no model made.

    :param path: of its file
    :param dimension: of the vectors
    :return: the catalog
    """
    return Catalog(path, model_name=MADE_NAME, fingerprint=MADE_FINGERPRINT, dimension=dimension)


def fill(catalog: Catalog, blocks: Iterator[FloatArray], *, start: int = 0) -> None:
    """Save vectors as contents of photos that do not exist.

    :param catalog: the catalog
    :param blocks: float32 (n, d), unit rows
    :param start: number of contents that the catalog has
    """
    for block in blocks:
        names = [i.to_bytes(32, "big") for i in range(start, start + len(block))]
        catalog.save(
            [Photo(f"/made/{start + i}.jpg", 1, 1, name) for i, name in enumerate(names)],
            [ContentRecord(name, row) for name, row in zip(names, block, strict=True)],
        )
        start += len(block)
