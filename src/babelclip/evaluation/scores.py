"""Scores of an evaluation: figures with confidence intervals, by language."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Protocol

import numpy as np
from numpy.typing import NDArray

from babelclip.errors import DataError
from babelclip.vectors import FloatArray

RESAMPLES = 1000
STATISTIC_RESAMPLES = 200
"""Resamples of a statistic that is recomputed for each of them."""
CONFIDENCE = 0.95
SEED = 0


class TextEncoder(Protocol):
    """Embeds texts: a model, or a student during training."""

    def encode_text(self, texts: Sequence[str], /) -> FloatArray:
        """Embed texts: float32 (n, d), unit rows."""
        ...


@dataclass(frozen=True, slots=True)
class Figure:
    """A mean in 0..1 and its 95% interval (percentile bootstrap, Efron 1979)."""

    value: float
    low: float
    high: float


@dataclass(frozen=True, slots=True)
class LanguageScore:
    """The figures of one language by name, and the number of queries that they are the mean of."""

    language: str
    count: int
    figures: Mapping[str, Figure]


@dataclass(frozen=True, slots=True)
class Report:
    """An evaluation: title, subject, the score of each language, (name, reason) of unreadable data, and notes on data
    that was left out.
    """

    title: str
    subject: str
    scores: tuple[LanguageScore, ...]
    failed: tuple[tuple[str, str], ...] = ()
    notes: tuple[str, ...] = ()

    def mean(self, languages: Sequence[str]) -> LanguageScore:
        """Compute the unweighted mean over languages; its interval is over the languages.

        :param languages: language codes; those without a score are ignored
        :return: the mean; its language is "mean of N"
        :raises DataError: if none of the languages has a score
        """
        chosen = [score for score in self.scores if score.language in languages]
        if not chosen:
            raise DataError(f"nothing was measured in any of the languages {', '.join(languages)}; choose others")
        values = {name: np.array([score.figures[name].value for score in chosen]) for name in chosen[0].figures}
        return LanguageScore(f"mean of {len(chosen)}", sum(score.count for score in chosen), figures(values))


def figures(samples: Mapping[str, NDArray[np.generic]]) -> dict[str, Figure]:
    """Compute the mean of each sample with its bootstrap interval; all samples share the resampled rows.

    :param samples: arrays (n,) of numbers or bools by name, all of the same length
    :return: figures by name
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
    """Compute a statistic with its basic bootstrap interval (Davison & Hinkley 1997), clipped at 0.

    A calibration error grows by resampling, because bins get emptier; the basic interval corrects this bias.

    :param statistic: function of resampled rows, int64, with repetitions
    :param n: size of the sample
    :return: the figure
    """
    rng = np.random.default_rng(SEED)
    values = [statistic(rng.integers(0, n, n)) for _ in range(STATISTIC_RESAMPLES)]
    tail = 100 * (1 - CONFIDENCE) / 2
    low, high = np.percentile(values, [tail, 100 - tail])
    value = statistic(np.arange(n))
    return Figure(value, max(0.0, 2 * value - float(high)), max(0.0, 2 * value - float(low)))
