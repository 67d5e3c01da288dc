"""Background vocabulary: everyday words of each language, which labels and queries are compared with."""

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
"""A word counts as a synonym of a label if their cosine exceeds this quantile of the cosines between the words."""


def background_vocabulary(language: str | None) -> tuple[str, ...]:
    """Return names of things that photos often show.

    :param language: a language code; the fallback is English
    :return: nouns in their dictionary form
    """
    return _all().get(language or FALLBACK) or _all()[FALLBACK]


def vocabulary_languages() -> tuple[str, ...]:
    """Return the languages that have a background vocabulary.

    :return: language codes
    """
    return tuple(_all())


def languages_of(text: str) -> frozenset[str]:
    """Find the languages whose background vocabulary contains a text.

    :param text: a label
    :return: language codes
    """
    return _languages().get(folded(text), frozenset())


def folded(text: str) -> str:
    """Normalize a text for comparison: NFC, case-folded, without surrounding white space.

    :param text: any text
    :return: the normalized text
    """
    return unicodedata.normalize("NFC", text).strip().casefold()


@dataclass(frozen=True, slots=True)
class Background:
    """The embedded background vocabulary of a classifier.

    ``text_vectors`` are the embeddings of the words, float32 (words, d), unit rows; ``vectors`` the rows that pictures
    are compared with, which differ from them once few-shot examples have refined the classifier; ``others`` is bool
    (labels, words), True for words that are no synonym of the label.
    """

    text_vectors: FloatArray
    vectors: FloatArray
    others: NDArray[np.bool_]


def make_background(
    words: Sequence[str], vectors: FloatArray, texts: Sequence[Sequence[str]], labels: FloatArray
) -> Background:
    """Find the words that are no synonyms of labels.

    :param words: the background vocabulary
    :param vectors: float32 (words, d), unit rows, embedded with the same templates as the labels
    :param texts: the texts of every label
    :param labels: float32 (labels, d), unit rows
    :return: the embedded background vocabulary
    """
    between = vectors @ vectors.T
    limit = np.quantile(between[np.triu_indices(len(words), 1)], NEAR_QUANTILE)
    label_texts = [{folded(text) for text in of_label} for of_label in texts]
    same = np.array([[folded(word) in of_label for word in words] for of_label in label_texts])
    return Background(vectors, vectors, (labels @ vectors.T <= limit) & ~same)


@cache
def _all() -> dict[str, tuple[str, ...]]:
    """Read the words by language; the first line of the file names the concepts."""
    text = resources.files("babelclip.zeroshot").joinpath("background_vocabulary.tsv").read_text(encoding="utf-8")
    rows = [line.split("\t") for line in text.splitlines()[1:]]
    return {code: tuple(words) for code, *words in rows}


@cache
def _languages() -> dict[str, frozenset[str]]:
    """Map normalized words to their languages."""
    by_word: dict[str, set[str]] = {}
    for code, words in _all().items():
        for word in words:
            by_word.setdefault(folded(word), set()).add(code)
    return {word: frozenset(codes) for word, codes in by_word.items()}
