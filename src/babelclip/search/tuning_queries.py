"""Tuning queries: words, sentences and pairs of words in ten languages, as people search for photos.

The sentences were written for this project; none is from a data set.
"""

from collections.abc import Sequence
from functools import cache
from importlib import resources

import numpy as np

from babelclip.models.model import Model
from babelclip.search.confidence import ANY, vocabulary_vectors
from babelclip.vectors import FloatArray
from babelclip.zeroshot.background_vocabulary import background_vocabulary

PAIRS = 40
"""Pairs of words in each language."""
SEED = 0


def tuning_vectors(model: Model) -> Sequence[FloatArray]:
    """Embed the tuning queries of a graph.

    :param model: the model
    :return: float32 (n, d) unit rows of each kind: words of all languages; and texts of several words, in ten
        languages; empty if the model has no text tower
    """
    if model.text_spec is None:
        return ()
    words = np.concatenate([vocabulary_vectors(model, code) for code in ("en", ANY)])
    return words, model.encode_text([*sentences(), *word_pairs()])


def sentences() -> tuple[str, ...]:
    """List the sentences.

    :return: texts
    """
    return tuple(text for _, text in _sentences())


def word_pairs() -> tuple[str, ...]:
    """Draw pairs of background words in the languages of the sentences; their recall is about that of captions.

    :return: texts
    """
    rng = np.random.default_rng(SEED)
    languages = dict.fromkeys(language for language, _ in _sentences())
    drawn = [
        rng.choice(background_vocabulary(language), 2, replace=False) for language in languages for _ in range(PAIRS)
    ]
    return tuple(", ".join(pair) for pair in drawn)


@cache
def _sentences() -> tuple[tuple[str, str], ...]:
    """Read the language and the text of each sentence."""
    lines = resources.files("babelclip.search").joinpath("tuning_queries.tsv").read_text(encoding="utf-8").splitlines()
    return tuple((language, text) for language, text in (line.split("\t") for line in lines))
