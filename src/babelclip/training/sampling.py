"""Sampling of training texts over corpora and languages.

The share of a corpus is its weight, or its size to the power alpha; within a corpus, the share of a language is its
weight times its size to the power alpha (alpha is the inverse of the temperature of Arivazhagan et al. 2019: with 1
shares are proportional to size, with 0 they are equal).
"""

from collections import defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from babelclip.errors import DataError
from babelclip.training.pairs import Corpus

ALPHA = 0.5


@dataclass(frozen=True, slots=True)
class TrainingPlan:
    """The shuffled texts of a run: the target of ``texts[i]`` is the teacher's vector of ``sources[i]``."""

    texts: list[str]
    sources: list[str]

    def __len__(self) -> int:
        return len(self.texts)


def shares(
    corpora: Sequence[Corpus],
    *,
    weights: Mapping[str, float],
    languages: Mapping[str, float],
    alpha: float = ALPHA,
) -> NDArray[np.float64]:
    """Compute the share of the samples of each corpus in each language.

    :param corpora: the pairs
    :param weights: weights of corpora by name; a corpus without a weight is weighted by its size
    :param languages: weights of languages, 1 by default
    :param alpha: exponent of sizes, see above
    :return: float64 (corpora,), of sum 1
    :raises DataError: if there are no pairs
    """
    if not corpora:
        raise DataError("there are no sentence pairs to train on; check --pairs, --languages and --held-out")
    sizes: dict[str, int] = defaultdict(int)
    for corpus in corpora:
        sizes[corpus.name] += len(corpus)
    weighted = {name for name in sizes if name in weights}
    # Weights are relative to each other; corpora without a weight share by size among themselves.
    rest = {name: size**alpha for name, size in sizes.items() if name not in weighted}
    scale = float(np.mean([weights[name] for name in weighted])) if weighted else 1.0
    mean = float(np.mean(list(rest.values()))) if rest else 1.0
    totals = {name: weights[name] if name in weighted else scale * rest[name] / mean for name in sizes}
    language_shares = np.array([languages.get(corpus.language, 1.0) * len(corpus) ** alpha for corpus in corpora])
    names = np.array([corpus.name for corpus in corpora])
    result = np.zeros(len(corpora))
    for name, total in totals.items():
        rows = names == name
        result[rows] = total * language_shares[rows] / language_shares[rows].sum()
    fractions: NDArray[np.float64] = result / result.sum()
    return fractions


def draw(
    corpora: Sequence[Corpus], fractions: NDArray[np.float64], *, samples: int, source_share: float, seed: int
) -> TrainingPlan:
    """Sample the texts of a run. Every pair of a corpus is drawn once before one is drawn again.

    :param corpora: the pairs
    :param fractions: float64 (corpora,), of sum 1
    :param samples: number of texts
    :param source_share: share of texts that are sources, in 0..1; the others are translations
    :param seed: seed of the random generator
    :return: the plan
    """
    rng = np.random.default_rng(seed)
    counts = np.floor(fractions * samples).astype(np.int64)
    counts[np.argsort(-(fractions * samples - counts), kind="stable")[: samples - int(counts.sum())]] += 1
    texts: list[str] = []
    sources: list[str] = []
    for corpus, count in zip(corpora, counts.tolist(), strict=True):
        rounds = -(-count // len(corpus))
        order = [row for _ in range(rounds) for row in rng.permutation(len(corpus)).tolist()][:count]
        are_sources = rng.random(count) < source_share
        for row, is_source in zip(order, are_sources, strict=True):
            source = corpus.sources[row]
            sources.append(source)
            texts.append(source if is_source else corpus.texts[row])
    shuffled = rng.permutation(len(texts))
    return TrainingPlan([texts[i] for i in shuffled], [sources[i] for i in shuffled])
