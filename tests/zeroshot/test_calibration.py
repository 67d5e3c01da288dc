"""Calibration; what numbers should be is worked out by hand here."""

import numpy as np
import pytest

from babelclip.errors import InputError
from babelclip.zeroshot.calibration import Calibration, calibration_error, fit_calibration, softmax


@pytest.mark.parametrize("smoothing", [0.0, 0.2])
def test_fitting_recovers_temperature_and_label_smoothing(smoothing: float) -> None:
    rng = np.random.default_rng(0)
    logits = 6 * rng.standard_normal((20_000, 6)).astype(np.float32)
    drawn = Calibration(2.5, smoothing).probabilities(logits)
    assert np.allclose(drawn, (1 - smoothing) * softmax(logits / 2.5) + smoothing / 6, atol=1e-6)
    truth = (drawn.cumsum(axis=1) < rng.random((len(drawn), 1))).sum(axis=1).clip(max=5)
    fitted = fit_calibration(logits, truth)
    assert fitted.temperature == pytest.approx(2.5, rel=0.1)
    assert fitted.label_smoothing == pytest.approx(smoothing, abs=0.02)
    assert calibration_error(drawn, truth) < 0.01
    assert calibration_error(softmax(logits), truth) > 0.1
    with pytest.raises(InputError, match="at least one"):
        fit_calibration(logits[:0], truth[:0])


def test_a_few_pictures_that_are_all_right_do_not_bring_certainty() -> None:
    logits = np.array([[2.0, 0.0, 0.0], [0.0, 2.0, 0.0], [0.0, 0.0, 2.0]], np.float32)
    fitted = fit_calibration(logits, np.arange(3))
    assert 0.2 < fitted.temperature < 1
    assert fitted.label_smoothing < 0.01


def test_the_error_is_that_of_a_count_by_hand() -> None:
    probabilities = np.array([[0.9, 0.1], [0.9, 0.1], [0.45, 0.55], [0.3, 0.7]], np.float32)
    truth = np.array([0, 1, 1, 0])
    # bins of a half: (0.55, right) alone is under 0.6; 0.9 is right half of the time; 0.7 is wrong.
    assert calibration_error(probabilities, truth, bins=10) == pytest.approx((0.8 + 0.45 + 0.7) / 4)
