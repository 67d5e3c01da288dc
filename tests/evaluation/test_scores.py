"""Tests of figures and their intervals."""

import numpy as np
import pytest

from babelclip.evaluation.scores import Figure, figures


def test_a_figure_is_the_mean_with_an_interval_that_narrows_with_the_sample() -> None:
    rng = np.random.default_rng(0)
    widths = []
    for n in (50, 5000):
        sample = rng.random(n) < 0.3
        figure = figures({"x": sample})["x"]
        assert figure.value == pytest.approx(sample.mean())
        assert figure.low <= figure.value <= figure.high
        assert figure.high - figure.low == pytest.approx(4 * 0.46 / n**0.5, rel=0.25)
        widths.append(figure.high - figure.low)
    assert widths[1] < widths[0] / 5
    assert figures({"x": np.ones(10)})["x"] == Figure(1.0, 1.0, 1.0)
