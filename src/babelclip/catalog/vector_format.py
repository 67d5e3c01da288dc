"""The form in which an index stores vectors: float16, or int8 with a scale."""

from typing import Literal

import numpy as np

from babelclip.vectors import FloatArray

StoredForm = Literal["float16", "int8"]
STORED_DTYPE = np.dtype("<f2")
"""Stored vectors are little-endian float16: cosine changes by less than 1e-3 at 512 dimensions."""


def to_bytes(vector: FloatArray, form: StoredForm = "float16") -> bytes:
    """Encode one vector in its stored form.

    :param vector: float32 (d,)
    :param form: "float16": d little-endian numbers; "int8": a little-endian float32 scale, then d numbers, and
        value = scale x number
    :return: 2 d or d + 4 bytes
    """
    if form == "float16":
        return vector.astype(STORED_DTYPE).tobytes()
    scale = np.float32(np.abs(vector).max(initial=0.0) / 127)
    numbers = np.rint(vector / scale) if scale > 0 else np.zeros_like(vector)
    head: bytes = scale.astype("<f4").tobytes()
    return head + numbers.astype(np.int8).tobytes()


def stored_bytes(dimension: int, form: StoredForm = "float16") -> int:
    """Compute the length of the stored form of a vector.

    :param dimension: d
    :param form: as in to_bytes
    :return: length in bytes
    """
    return 2 * dimension if form == "float16" else dimension + 4


def from_bytes(stored: bytes, dimension: int, form: StoredForm = "float16") -> FloatArray:
    """Decode vectors from their stored form, joined end to end.

    :param stored: n vectors from to_bytes
    :param dimension: d
    :param form: as in to_bytes
    :return: float32 (n, d), as stored: lengths are one within 1e-3
    """
    if form == "float16":
        return np.frombuffer(stored, dtype=STORED_DTYPE).reshape(-1, dimension).astype(np.float32)
    rows = np.frombuffer(stored, dtype=np.dtype([("scale", "<f4"), ("numbers", "i1", (dimension,))]))
    return rows["numbers"] * rows["scale"][:, None].astype(np.float32)
