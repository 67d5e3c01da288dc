"""A catalog of vectors of two numbers, and photos for it."""

from pathlib import Path

import numpy as np

from babelclip.catalog.catalog import Catalog

VECTOR = np.array([0.6, 0.8], dtype=np.float32)


def open_catalog(path: Path, *, fingerprint: str = "f" * 64) -> Catalog:
    return Catalog(path, model_name="tiny", fingerprint=fingerprint, dimension=2)


def digest(number: int) -> bytes:
    return bytes([number]) * 32
