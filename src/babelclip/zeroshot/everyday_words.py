"""Everyday things: what a picture may show when it shows none of the labels."""

import unicodedata
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cache
from importlib import resources

import numpy as np
from numpy.typing import NDArray

from babelclip.vectors import FloatArray

FALLBACK = "en"
NEAR_QUANTILE = 0.995
"""A word is taken for the same as a label if their cosine is over this quantile of those between everyday words."""


def everyday_words(language: str | None) -> tuple[str, ...]:
    """Names of things that photographs often show.

    :param language: a code; None, or one that has no words here, gives the English ones
    :return: nouns in their dictionary form
    """
    return _all().get(language or FALLBACK) or _all()[FALLBACK]


def word_languages() -> tuple[str, ...]:
    """The languages that have everyday words.

    :return: codes
    """
    return tuple(_all())


def languages_of(text: str) -> frozenset[str]:
    """The languages in which a text is one of the everyday words.

    :param text: a label
    :return: codes
    """
    return _languages().get(folded(text), frozenset())


def folded(text: str) -> str:
    """A text as it is compared: NFC, without regard to case and blanks around it.

    :param text: any text
    :return: its form
    """
    return unicodedata.normalize("NFC", text).strip().casefold()


@dataclass(frozen=True, slots=True)
class Background:
    """Everyday things beside labels: float32 (words, d), what their texts give, unit rows, and what pictures are
    compared with, which differs once examples have refined a classifier; bool (labels, words), which are not the label.
    """

    text_vectors: FloatArray
    vectors: FloatArray
    others: NDArray[np.bool_]


def background(
    words: Sequence[str], vectors: FloatArray, texts: Sequence[Sequence[str]], labels: FloatArray
) -> Background:
    """Tell which everyday things are none of the labels.

    :param words: the everyday words
    :param vectors: float32 (words, d), unit rows, made with the same templates as the labels
    :param texts: the texts of every label
    :param labels: float32 (labels, d), unit rows
    :return: the background
    """
    between = vectors @ vectors.T
    limit = np.quantile(between[np.triu_indices(len(words), 1)], NEAR_QUANTILE)
    same = np.array([[folded(word) in own for word in words] for own in ({folded(t) for t in o} for o in texts)])
    return Background(vectors, vectors, (labels @ vectors.T <= limit) & ~same)


@cache
def _all() -> dict[str, tuple[str, ...]]:
    """The words by language; the first line of the file names the concepts."""
    text = resources.files("babelclip.zeroshot").joinpath("everyday.tsv").read_text(encoding="utf-8")
    rows = [line.split("\t") for line in text.splitlines()[1:]]
    return {code: tuple(words) for code, *words in rows}


@cache
def _languages() -> dict[str, frozenset[str]]:
    """Word, as it is compared -> the languages that have it."""
    found: dict[str, set[str]] = {}
    for code, words in _all().items():
        for word in words:
            found.setdefault(folded(word), set()).add(code)
    return {word: frozenset(codes) for word, codes in found.items()}
