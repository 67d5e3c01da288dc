"""How sure is a match? A query's cosine is compared with what everyday words get in the same collection.

Raw cosines mean little: they differ by model, language and collection. So two hundred everyday words of the query's
language are asked of the collection too. Three numbers count, each in standard deviations from the mean of what the
words have: the cosine of the photo, against those of the words with their own best photos; the inverted softmax (Smith
et al. 2017), summed over the nearest photos of the query, of which each counts less the better it fits the words too;
and how well the collection answers the words nearest to the query, since one with birds in it is likelier to have a
parrot. A logistic function of them is the confidence; its constants were chosen with tools/measure_confidence.py, on
collections that lack whole kinds of things.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

import numpy as np

from babelclip.models.model import Model
from babelclip.settings import settings
from babelclip.text.language_id import guess_language
from babelclip.text.languages import BY_CODE
from babelclip.text.scripts import script_of
from babelclip.vectors import FloatArray, cosines_of
from babelclip.zeroshot.everyday_words import everyday_words, languages_of

SHARPNESS = 35.0
"""What cosines are multiplied by in the inverted softmax."""
WEIGHTS, BIAS = (0.8, 0.27, 0.2), -0.5
"""Of the cosine, of the inverted softmax, and of what the words near to the text get."""
NEAREST = 20
"""Photos of a text over which the inverted softmax is summed."""
NEAR_WORDS = 10
"""Everyday words nearest to a text."""
STRONG, LIKELY, WEAK = 0.8, 0.5, 0.2
"""The least confidences of the words that name it; below the last one a photo is no match."""
FEWEST_PHOTOS = 10
"""In a smaller collection nothing can be said."""
ANY = "any"
"""Stands for a language that cannot be told."""
HUB_SHARPNESS = 20.0

Strength = Literal["strong", "likely", "weak", "none"]


@dataclass(frozen=True, slots=True)
class Nearest:
    """The NEAREST photos of texts in a whole collection: float32 (m, k) cosines, the best first, and float32 (m, k) how
    well each of the photos fits the everyday words (hubness).
    """

    cosines: FloatArray
    hubs: FloatArray

    @classmethod
    def of(cls, texts: FloatArray, photos: FloatArray, words: FloatArray) -> "Nearest":
        """Compare texts with their nearest photos, and these with the words.

        :param texts: float32 (m, d), unit rows
        :param photos: float32 (m, k, d), unit rows, the nearest first
        :param words: float32 (n, d), unit rows
        :return: what is known of them
        """
        hubs = hubness(photos.reshape(-1, photos.shape[-1]), words, SHARPNESS)
        return cls((photos @ texts[:, :, None])[:, :, 0], hubs.reshape(photos.shape[:2]))

    def inverted(self) -> FloatArray:
        """The inverted softmax of each text: the logarithm of its sum over the photos.

        :return: float32 (m,)
        """
        return _log_sum_exp(SHARPNESS * self.cosines - self.hubs)


@dataclass(frozen=True, slots=True)
class Evidence:
    """What everyday words get in a collection: float32 (words, d) unit rows, float32 (words,) the cosine of each with
    its best photo; mean and deviation of the three numbers.
    """

    words: FloatArray
    best: FloatArray
    cosine: tuple[float, float]
    inverted: tuple[float, float]
    near: tuple[float, float]


def gather_evidence(words: FloatArray, nearest: Nearest) -> Evidence:
    """What words get in a collection.

    :param words: float32 (n, d), unit rows
    :param nearest: their nearest photos
    :return: the evidence
    """
    best = nearest.cosines[:, 0]
    among = words @ words.T
    np.fill_diagonal(among, -1)
    numbers = best, nearest.inverted(), _of_near_words(among, best)
    return Evidence(words, best, *map(_mean_and_deviation, numbers))


def deviations(texts: FloatArray, cosines: FloatArray, nearest: Nearest, evidence: Evidence) -> FloatArray:
    """The three numbers of texts and photos.

    :param texts: float32 (m, d), unit rows
    :param cosines: float32 (m, n), of each text with its photos
    :param nearest: the nearest photos of each text
    :param evidence: of the same language and collection
    :return: float32 (m, n, 3), in standard deviations
    """
    inverted = nearest.inverted()
    near = _of_near_words(cosines_of(texts, evidence.words), evidence.best)
    numbers = np.stack(np.broadcast_arrays(cosines, inverted[:, None], near[:, None]), axis=-1)
    of_words = np.array([evidence.cosine, evidence.inverted, evidence.near], dtype=np.float32)
    found: FloatArray = (numbers - of_words[:, 0]) / of_words[:, 1]
    return found


def confidences(texts: FloatArray, cosines: FloatArray, nearest: Nearest, evidence: Evidence) -> FloatArray:
    """How sure it is that photos show what texts say.

    :param texts: float32 (m, d), unit rows
    :param cosines: float32 (m, n), of each text with its photos
    :param nearest: the nearest photos of each text
    :param evidence: of the same language and collection
    :return: float32 (m, n), in 0..1
    """
    logit = deviations(texts, cosines, nearest, evidence) @ np.array(WEIGHTS, dtype=np.float32) + BIAS
    sure: FloatArray = 1 / (1 + np.exp(-logit))
    return sure


def strength(confidence: float) -> Strength:
    """The word for a confidence.

    :param confidence: in 0..1
    :return: strong, likely, weak, or none where it is no match
    """
    if confidence >= STRONG:
        return "strong"
    return "likely" if confidence >= LIKELY else "weak" if confidence >= WEAK else "none"


def hubness(photos: FloatArray, texts: FloatArray, sharpness: float = HUB_SHARPNESS) -> FloatArray:
    """How well photos fit texts in general: the logarithm of the sum of exp(sharpness x cosine) over the texts.

    :param photos: float32 (n, d), unit rows
    :param texts: float32 (m, d), unit rows
    :param sharpness: how much the best fitting texts count above the others
    :return: float32 (n,)
    """
    return _log_sum_exp(sharpness * cosines_of(photos, texts))


def language_of_query(text: str) -> str:
    """The language whose everyday words a query is measured by.

    :param text: the query
    :return: a code, or ANY where it cannot be told or has no everyday words
    """
    known = languages_of(text)
    code = guess_language(text) or (next(iter(known)) if len(known) == 1 else None)
    if code is None and script_of(text) == "Latin" and "en" in known:
        code = "en"
    return code if code in BY_CODE else ANY


def word_vectors(model: Model, language: str) -> FloatArray:
    """The vectors of a language's everyday words, kept in the data folder once they are made.

    :param model: what makes them
    :param language: a code, or ANY for words of all its languages in turn
    :return: float32 (words, dimension), unit rows
    """
    file = settings().home / "backgrounds" / f"{model.fingerprint[:32]}-{language}.npy"
    try:
        kept: FloatArray = np.load(file)
        if kept.ndim == 2 and kept.shape[1] == model.dimension and kept.dtype == np.float32:
            return kept
    except (OSError, ValueError):
        pass
    vectors = model.encode_text(_words(model, language))
    file.parent.mkdir(parents=True, exist_ok=True)
    draft = file.with_suffix(f".{id(vectors)}.npy")
    np.save(draft, vectors)
    draft.replace(file)
    return vectors


def _words(model: Model, language: str) -> Sequence[str]:
    if language != ANY:
        return everyday_words(language)
    own = [everyday_words(code) for code in model.languages]
    return [own[i % len(own)][i] for i in range(len(own[0]))]


def _log_sum_exp(logits: FloatArray) -> FloatArray:
    """Of every row."""
    top = logits.max(axis=1)
    summed: FloatArray = top + np.log(np.exp(logits - top[:, None]).sum(axis=1))
    return summed


def _of_near_words(likeness: FloatArray, best: FloatArray) -> FloatArray:
    """Of rows of cosines with the words: the mean of what the nearest words have with their best photos."""
    near = np.argpartition(-likeness, min(NEAR_WORDS, len(best)) - 1, axis=1)[:, :NEAR_WORDS]
    found: FloatArray = best[near].mean(axis=1)
    return found


def _mean_and_deviation(numbers: FloatArray) -> tuple[float, float]:
    return float(numbers.mean()), max(float(numbers.std()), 1e-6)
