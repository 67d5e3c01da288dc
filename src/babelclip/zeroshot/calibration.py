"""Probabilities that mean what they say: temperature scaling and its error (Guo et al. 2017)."""

import numpy as np
from numpy.typing import NDArray

from babelclip.errors import InputError
from babelclip.vectors import FloatArray

BINS = 15
COOLEST, WARMEST = 0.02, 50.0
"""Temperatures that are looked at."""
ROUNDS = 60
"""Of golden sections: each leaves 0.618 of the range."""


def softmax(logits: FloatArray) -> FloatArray:
    """Probabilities of every row.

    :param logits: float32 (n, classes)
    :return: float32 (n, classes), rows of sum 1
    """
    shifted = np.exp(logits - logits.max(axis=1, keepdims=True))
    found: FloatArray = shifted / shifted.sum(axis=1, keepdims=True)
    return found


def fit_temperature(logits: FloatArray, truth: NDArray[np.int64]) -> float:
    """The temperature at which the truth is most likely: logits / temperature, then softmax.

    Its logarithm is held to be normal around 0 with deviation 1 beforehand, which is worth one picture: where all
    pictures are right, the likelihood alone would go on to certainty. Found by golden-section search.

    :param logits: float32 (n, classes)
    :param truth: int64 (n,), the right class of every row
    :return: the temperature, in COOLEST..WARMEST
    :raises InputError: if there is nothing to fit on
    """
    if not len(logits):
        raise InputError("a temperature needs at least one classified picture")
    rows = np.arange(len(truth))

    def loss(logarithm: float) -> float:
        scaled = logits.astype(np.float64) / np.exp(logarithm)
        scaled -= scaled.max(axis=1, keepdims=True)
        likely = (scaled[rows, truth] - np.log(np.exp(scaled).sum(axis=1))).sum()
        return float(logarithm**2 / 2 - likely)

    section = (np.sqrt(5) - 1) / 2
    low, high = np.log(COOLEST), np.log(WARMEST)
    for _ in range(ROUNDS):
        left, right = high - section * (high - low), low + section * (high - low)
        if loss(left) <= loss(right):
            high = right
        else:
            low = left
    return float(np.exp((low + high) / 2))


def calibration_error(probabilities: FloatArray, truth: NDArray[np.int64], bins: int = BINS) -> float:
    """Expected calibration error: how far confidence is from accuracy, in bins of confidence of one width.

    :param probabilities: float32 (n, classes)
    :param truth: int64 (n,)
    :param bins: how many
    :return: the mean distance, weighed by pictures a bin, in 0..1
    """
    return confidence_error(probabilities.max(axis=1), probabilities.argmax(axis=1) == truth, bins)


def confidence_error(confidence: FloatArray, right: NDArray[np.bool_], bins: int = BINS) -> float:
    """The same from the confidence of every answer, and whether it is right.

    :param confidence: float32 (n,), in 0..1
    :param right: bool (n,)
    :param bins: how many
    :return: as calibration_error
    """
    bin_of = np.minimum((confidence * bins).astype(np.int64), bins - 1)
    gaps = np.bincount(bin_of, weights=right - confidence.astype(np.float64), minlength=bins)
    return float(np.abs(gaps).sum() / len(right))
