"""Probabilities that mean what they say: temperature and doubt, and the error that is left (Guo et al. 2017).

A temperature alone makes a model less sure everywhere. But a label may be wrong however sure the model is, as where its
name means something else; doubt is the share of pictures of which that is so.
"""

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from babelclip.errors import InputError
from babelclip.vectors import FloatArray

BINS = 15
COOLEST, WARMEST = 0.02, 50.0
"""Temperatures that are looked at."""
MOST_DOUBT = 0.5
ROUNDS = 30
"""Of golden sections: each leaves 0.618 of the range."""
NEARLY_SURE = 1 - 1e-6


@dataclass(frozen=True, slots=True)
class Calibration:
    """What logits are divided by before the softmax, and the share of probability then spread over all labels alike."""

    temperature: float = 1.0
    doubt: float = 0.0

    def probabilities(self, logits: FloatArray) -> FloatArray:
        """Probabilities of every row.

        :param logits: float32 (n, classes)
        :return: float32 (n, classes), rows of sum 1
        """
        found: FloatArray = self.doubted(softmax(logits / np.float32(self.temperature)), logits.shape[1])
        return found

    def doubted(self, probabilities: FloatArray, choices: int) -> FloatArray:
        """Probabilities with the doubt taken off them and spread over the choices.

        :param probabilities: float32, of any shape
        :param choices: how many there are
        :return: float32, of the same shape
        """
        found: FloatArray = np.float32(1 - self.doubt) * probabilities + np.float32(self.doubt / choices)
        return found


def softmax(logits: FloatArray) -> FloatArray:
    """Probabilities of every row.

    :param logits: float32 (n, classes)
    :return: float32 (n, classes), rows of sum 1
    """
    shifted = np.exp(logits - logits.max(axis=1, keepdims=True))
    found: FloatArray = shifted / shifted.sum(axis=1, keepdims=True)
    return found


def fit_calibration(logits: FloatArray, truth: NDArray[np.int64]) -> Calibration:
    """The temperature and the doubt at which it is most likely that the best labels were right where they were.

    Only whether the best label is right counts, not how likely the truth was among the others: that is what the
    calibration error asks. Beforehand the logarithm of the temperature is held to be normal around 0 with deviation 1,
    which is worth about one picture: where all are right, the likelihood alone would go on to certainty. Found by
    golden-section search, the doubt within the temperature.

    :param logits: float32 (n, classes)
    :param truth: int64 (n,), the right class of every row
    :return: temperature in COOLEST..WARMEST, doubt in 0..MOST_DOUBT
    :raises InputError: if there is nothing to fit on
    """
    if not len(logits):
        raise InputError("a calibration needs at least one classified picture")
    right = logits.argmax(axis=1) == truth
    below = logits - logits.max(axis=1, keepdims=True)

    def doubt_at(logarithm: float) -> tuple[float, float]:
        sure = 1 / np.exp(below / np.float32(np.exp(logarithm))).sum(axis=1, dtype=np.float64)

        def loss(doubt: float) -> float:
            confidence = np.minimum((1 - doubt) * sure + doubt / logits.shape[1], NEARLY_SURE)
            return -float(np.log(np.where(right, confidence, 1 - confidence)).sum())

        return _least(loss, 0.0, MOST_DOUBT)

    logarithm, _ = _least(lambda at: at**2 / 2 + doubt_at(at)[1], np.log(COOLEST), np.log(WARMEST))
    return Calibration(float(np.exp(logarithm)), doubt_at(logarithm)[0])


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


def _least(function: Callable[[float], float], low: float, high: float) -> tuple[float, float]:
    """Where a function with one valley is least, and what it is there, by golden-section search (Kiefer 1953)."""
    section = (np.sqrt(5) - 1) / 2
    left, right = high - section * (high - low), low + section * (high - low)
    at_left, at_right = function(left), function(right)
    for _ in range(ROUNDS):
        if at_left <= at_right:
            high, right, at_right = right, left, at_left
            left = high - section * (high - low)
            at_left = function(left)
        else:
            low, left, at_left = left, right, at_right
            right = low + section * (high - low)
            at_right = function(right)
    return (float(left), at_left) if at_left <= at_right else (float(right), at_right)
