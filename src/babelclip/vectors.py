"""Vectors: unit rows and cosine."""

import numpy as np
from numpy.typing import NDArray

from babelclip.errors import InputError

FloatArray = NDArray[np.float32]

UNTHREADED = 2**18
"""Multiplications up to which OpenBLAS stays in the calling thread. For more it wakes threads, which then spin for
about 25 ms and slow other threads meanwhile.
"""
SMALL = 32 * UNTHREADED
"""Multiplications up to which a product is faster without other threads: a third of a millisecond."""


def unit_rows(rows: FloatArray) -> FloatArray:
    """Scale every row to length one; a zero row stays zero.

    :param rows: float32 (n, d)
    :return: float32 (n, d), unit rows
    """
    norms = np.linalg.norm(rows, axis=-1, keepdims=True)
    scaled: FloatArray = np.divide(rows, norms, out=np.zeros_like(rows, dtype=np.float32), where=norms > 0)
    return scaled


def cosine(a: FloatArray, b: FloatArray) -> FloatArray:
    """Compute the cosine of every row of one array with every row of another.

    :param a: float32 (n, d) or (d,), of any length
    :param b: float32 (m, d) or (d,), of any length
    :return: float32 (n, m), in -1..1
    :raises InputError: if the dimensions differ
    """
    a, b = np.atleast_2d(a), np.atleast_2d(b)
    if a.shape[1] != b.shape[1]:
        raise InputError(f"cannot compare vectors of {a.shape[1]} and {b.shape[1]} dimensions")
    return unit_rows(a) @ unit_rows(b).T


def cosines_of(a: FloatArray, b: FloatArray) -> FloatArray:
    """Compute dot products of all pairs of rows; a few rows wake no threads, so that a query does not slow the next.

    :param a: float32 (n, d), unit rows
    :param b: float32 (m, d), unit rows
    :return: float32 (n, m)
    """
    if len(a) < len(b):
        return cosines_of(b, a).T
    rows = max(1, UNTHREADED // max(1, b.size))
    if rows >= len(a) or len(a) * b.size > SMALL:
        return a @ b.T
    return np.concatenate([a[i : i + rows] @ b.T for i in range(0, len(a), rows)])
