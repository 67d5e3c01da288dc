"""Texts as people write them when they look for a picture, in ten languages: not those of any data set."""

from functools import cache
from importlib import resources

import numpy as np

from babelclip.zeroshot.everyday_words import everyday_words

PAIRS = 40
"""Of each language."""
SEED = 0


def asked_sentences() -> tuple[str, ...]:
    """Sentences, which were written for this project.

    :return: texts
    """
    return tuple(text for _, text in _sentences())


def asked_pairs() -> tuple[str, ...]:
    """Two everyday words together, in the languages of the sentences; found about as well as captions of photos.

    :return: texts
    """
    rng = np.random.default_rng(SEED)
    languages = dict.fromkeys(language for language, _ in _sentences())
    drawn = [rng.choice(everyday_words(language), 2, replace=False) for language in languages for _ in range(PAIRS)]
    return tuple(", ".join(pair) for pair in drawn)


@cache
def _sentences() -> tuple[tuple[str, str], ...]:
    """Language and text."""
    lines = resources.files("babelclip.search").joinpath("tuning_queries.tsv").read_text(encoding="utf-8").splitlines()
    return tuple((language, text) for language, text in (line.split("\t") for line in lines))
