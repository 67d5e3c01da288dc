"""Vectors in clusters, as photo collections have them, and a catalog of them."""

import numpy as np

from babelclip.catalog.catalog import Catalog
from babelclip.catalog.records import ContentRecord, Photo
from babelclip.vectors import FloatArray, unit_rows

DIMENSION = 32


def clustered(seed: int, n: int) -> FloatArray:
    """Vectors around forty centres."""
    rng = np.random.default_rng(seed)
    centres = np.random.default_rng(99).standard_normal((40, DIMENSION))
    return unit_rows((centres[rng.integers(0, 40, n)] + 0.4 * rng.standard_normal((n, DIMENSION))).astype(np.float32))


def content_hash(seed: int, i: int) -> bytes:
    """The sha256 that a photo of ``fill`` would have."""
    return f"{seed}-{i}".encode().ljust(32, b".")


def fill(catalog: Catalog, seed: int, n: int) -> FloatArray:
    """Save photos ``/p/SEED-NUMBER.jpg`` with clustered vectors."""
    vectors = clustered(seed, n)
    catalog.save(
        [Photo(f"/p/{seed}-{i}.jpg", 1, 1, content_hash(seed, i)) for i in range(n)],
        [ContentRecord(content_hash(seed, i), vector) for i, vector in enumerate(vectors)],
    )
    return vectors
