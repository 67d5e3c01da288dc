"""What a student reads, in which order: texts drawn over corpora and languages.

Every corpus has a share of the draws: its weight, or its size to the power alpha; within it every language has its
weight times its size to the power alpha (alpha is the inverse of the temperature of Arivazhagan et al. 2019: 1 draws in
proportion to size, 0 draws all alike).
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
class Plan:
    """The texts of a training, shuffled: ``texts[i]`` shall get the teacher's vector of ``sources[i]``."""

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
    """The part of the draws that each corpus gets in each language.

    :param corpora: the pairs
    :param weights: the weight of a corpus by its name; one that is not named counts by its size
    :param languages: the weight of a language; 1 where it is not named
    :param alpha: see above
    :return: float64 (corpora,), of sum 1
    :raises DataError: if there are no pairs
    """
    if not corpora:
        raise DataError("there are no sentence pairs to train on")
    sizes: dict[str, int] = defaultdict(int)
    for corpus in corpora:
        sizes[corpus.name] += len(corpus)
    known = {name for name in sizes if name in weights}
    # A weight is a share against the other weights; those without one share among themselves by size.
    rest = {name: size**alpha for name, size in sizes.items() if name not in known}
    scale = float(np.mean([weights[name] for name in known])) if known else 1.0
    mean = float(np.mean(list(rest.values()))) if rest else 1.0
    totals = {name: weights[name] if name in known else scale * rest[name] / mean for name in sizes}
    own = np.array([languages.get(corpus.language, 1.0) * len(corpus) ** alpha for corpus in corpora])
    names = np.array([corpus.name for corpus in corpora])
    result = np.zeros(len(corpora))
    for name, total in totals.items():
        mine = names == name
        result[mine] = total * own[mine] / own[mine].sum()
    fractions: NDArray[np.float64] = result / result.sum()
    return fractions


def draw(
    corpora: Sequence[Corpus], fractions: NDArray[np.float64], *, samples: int, source_share: float, seed: int
) -> Plan:
    """Draw the texts of a training. A corpus is gone through as a whole before a pair comes again.

    :param corpora: the pairs
    :param fractions: float64 (corpora,), of sum 1
    :param samples: how many texts
    :param source_share: in 0..1, the part of them that are sources; the others are translations
    :param seed: of the draw
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
        own = rng.random(count) < source_share
        for row, is_source in zip(order, own, strict=True):
            source = corpus.sources[row]
            sources.append(source)
            texts.append(source if is_source else corpus.texts[row])
    places = rng.permutation(len(texts))
    return Plan([texts[i] for i in places], [sources[i] for i in places])
