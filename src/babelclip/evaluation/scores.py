"""Figures with their intervals, by language: what every evaluation gives."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Protocol

import numpy as np
from numpy.typing import NDArray

from babelclip.errors import DataError
from babelclip.vectors import FloatArray

RESAMPLES = 1000
DRAWS = 200
"""Resamples of a statistic that has to be computed anew for each."""
CONFIDENCE = 0.95
SEED = 0


class TextEncoder(Protocol):
    """What embeds texts: a model, or a student that is still being trained."""

    def encode_text(self, texts: Sequence[str], /) -> FloatArray:
        """Vectors of texts: float32 (n, d), unit rows."""
        ...


@dataclass(frozen=True, slots=True)
class Figure:
    """A mean in 0..1 and its 95% interval (percentile bootstrap, Efron 1979)."""

    value: float
    low: float
    high: float


@dataclass(frozen=True, slots=True)
class LanguageScore:
    """The figures of one language by name, and how many queries they are the mean of."""

    language: str
    count: int
    figures: Mapping[str, Figure]


@dataclass(frozen=True, slots=True)
class Report:
    """One evaluation: its title, what it was measured on, a score a language, what could not be read, and notes on
    what was left out.
    """

    title: str
    subject: str
    scores: tuple[LanguageScore, ...]
    failed: tuple[tuple[str, str], ...] = ()
    notes: tuple[str, ...] = ()

    def mean(self, languages: Sequence[str]) -> LanguageScore:
        """The plain mean over those of some languages that are here; its interval is over the languages.

        :param languages: codes
        :return: the mean; its language is "mean of N"
        :raises DataError: if none of them is here
        """
        chosen = [score for score in self.scores if score.language in languages]
        if not chosen:
            raise DataError("nothing was measured in any of the languages asked for")
        values = {name: np.array([score.figures[name].value for score in chosen]) for name in chosen[0].figures}
        return LanguageScore(f"mean of {len(chosen)}", sum(score.count for score in chosen), figures(values))


def figures(samples: Mapping[str, NDArray[np.generic]]) -> dict[str, Figure]:
    """The mean of every sample with its bootstrap interval; all samples are resampled alike.

    :param samples: by name, arrays (n,) of numbers or truths, all of one length
    :return: a figure by name
    """
    names = list(samples)
    table: FloatArray = np.stack([np.asarray(samples[name], dtype=np.float32) for name in names], axis=1)
    n = len(table)
    weights = np.random.default_rng(SEED).multinomial(n, np.full(n, 1 / n), size=RESAMPLES).astype(np.float32)
    tail = 100 * (1 - CONFIDENCE) / 2
    low, high = np.percentile(weights @ table / n, [tail, 100 - tail], axis=0)
    means = table.mean(axis=0, dtype=np.float64)
    return {name: Figure(float(means[i]), float(low[i]), float(high[i])) for i, name in enumerate(names)}


def bootstrap(statistic: Callable[[NDArray[np.int64]], float], n: int) -> Figure:
    """A statistic that is no mean, with its basic bootstrap interval (Davison & Hinkley 1997), cut at 0.

    A calibration error grows with every resampling, since bins get emptier; the basic interval turns that bias round.

    :param statistic: rows of the sample, int64, perhaps some of them several times -> a number
    :param n: size of the sample
    :return: the figure
    """
    rng = np.random.default_rng(SEED)
    drawn = [statistic(rng.integers(0, n, n)) for _ in range(DRAWS)]
    tail = 100 * (1 - CONFIDENCE) / 2
    low, high = np.percentile(drawn, [tail, 100 - tail])
    value = statistic(np.arange(n))
    return Figure(value, max(0.0, 2 * value - float(high)), max(0.0, 2 * value - float(low)))
