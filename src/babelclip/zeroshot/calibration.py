"""Calibration of probabilities by temperature and label smoothing, and the calibration error (Guo et al. 2017).

A temperature alone lowers every confidence. But a label can be wrong at any confidence, for example because its name is
ambiguous; label smoothing represents the share of such pictures.
"""

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from babelclip.errors import InputError
from babelclip.vectors import FloatArray

BINS = 15
MIN_TEMPERATURE, MAX_TEMPERATURE = 0.02, 50.0
"""Range of the temperature."""
MAX_LABEL_SMOOTHING = 0.5
ROUNDS = 30
"""Iterations of the golden-section search: each reduces the range to 0.618 of it."""
MAX_CONFIDENCE = 1 - 1e-6


@dataclass(frozen=True, slots=True)
class Calibration:
    """The divisor of logits before the softmax, and the share of probability that is spread evenly over all labels."""

    temperature: float = 1.0
    label_smoothing: float = 0.0

    def probabilities(self, logits: FloatArray) -> FloatArray:
        """Compute calibrated probabilities.

        :param logits: float32 (n, classes)
        :return: float32 (n, classes), rows of sum 1
        """
        return self.smoothed(softmax(logits / np.float32(self.temperature)), logits.shape[1])

    def smoothed(self, probabilities: FloatArray, choices: int) -> FloatArray:
        """Apply label smoothing.

        :param probabilities: float32, of any shape
        :param choices: number of labels over which the smoothed share is spread
        :return: float32, of the same shape
        """
        share = self.label_smoothing
        smoothed: FloatArray = np.float32(1 - share) * probabilities + np.float32(share / choices)
        return smoothed


def softmax(logits: FloatArray) -> FloatArray:
    """Compute the softmax of every row.

    :param logits: float32 (n, classes)
    :return: float32 (n, classes), rows of sum 1
    """
    shifted = np.exp(logits - logits.max(axis=1, keepdims=True))
    probabilities: FloatArray = shifted / shifted.sum(axis=1, keepdims=True)
    return probabilities


def fit_calibration(logits: FloatArray, truth: NDArray[np.int64]) -> Calibration:
    """Fit temperature and label smoothing by the maximum posterior of the correctness of the best labels.

    As in the calibration error, only the correctness of the best label counts, not the probability of the true one. The
    prior of the temperature's logarithm is normal with mean 0 and deviation 1, which weighs about as much as one
    picture: if all answers are right, the likelihood alone would grow towards certainty. The search is a golden-section
    search over the temperature, with one over the label smoothing inside.

    :param logits: float32 (n, classes)
    :param truth: int64 (n,), the true class of every row
    :return: temperature in MIN_TEMPERATURE..MAX_TEMPERATURE, label smoothing in 0..MAX_LABEL_SMOOTHING
    :raises InputError: if there are no logits
    """
    if not len(logits):
        raise InputError("calibration needs at least one classified picture; there are 0")
    right = logits.argmax(axis=1) == truth
    below = logits - logits.max(axis=1, keepdims=True)

    def smoothing_at(logarithm: float) -> tuple[float, float]:
        confidence = 1 / np.exp(below / np.float32(np.exp(logarithm))).sum(axis=1, dtype=np.float64)

        def loss(smoothing: float) -> float:
            smoothed = np.minimum((1 - smoothing) * confidence + smoothing / logits.shape[1], MAX_CONFIDENCE)
            return -float(np.log(np.where(right, smoothed, 1 - smoothed)).sum())

        return _minimize(loss, 0.0, MAX_LABEL_SMOOTHING)

    logarithm, _ = _minimize(
        lambda at: at**2 / 2 + smoothing_at(at)[1], np.log(MIN_TEMPERATURE), np.log(MAX_TEMPERATURE)
    )
    return Calibration(float(np.exp(logarithm)), smoothing_at(logarithm)[0])


def calibration_error(probabilities: FloatArray, truth: NDArray[np.int64], bins: int = BINS) -> float:
    """Compute the expected calibration error: the mean difference of confidence and accuracy in bins of equal width.

    :param probabilities: float32 (n, classes)
    :param truth: int64 (n,)
    :param bins: number of bins
    :return: the mean difference, weighted by the number of pictures in a bin, in 0..1
    """
    return confidence_error(probabilities.max(axis=1), probabilities.argmax(axis=1) == truth, bins)


def confidence_error(confidence: FloatArray, right: NDArray[np.bool_], bins: int = BINS) -> float:
    """Compute the expected calibration error from confidences and correctness.

    :param confidence: float32 (n,), in 0..1
    :param right: bool (n,)
    :param bins: number of bins
    :return: as calibration_error
    """
    bin_of = np.minimum((confidence * bins).astype(np.int64), bins - 1)
    gaps = np.bincount(bin_of, weights=right - confidence.astype(np.float64), minlength=bins)
    return float(np.abs(gaps).sum() / len(right))


def _minimize(function: Callable[[float], float], low: float, high: float) -> tuple[float, float]:
    """Minimize a unimodal function by golden-section search (Kiefer 1953); return argument and value."""
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
