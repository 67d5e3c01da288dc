"""The confidence of a match: its cosine relative to those of the background vocabulary in the same collection.

Raw cosines are not comparable across models, languages and collections. The background vocabulary of the query's
language (two hundred everyday words) is therefore searched for in the collection too. Three features count, each in
standard deviations from the mean of the vocabulary: the cosine of the photo, relative to those of the words with their
own best photos; the inverted softmax (Smith et al. 2017), summed over the nearest photos of the query, each of which
counts less the better it matches the vocabulary; and the best cosines of the words nearest to the query, because a
collection with birds is likelier to have a parrot. The confidence is a logistic function of the features; its constants
were chosen with tools/measure_confidence.py, on collections that lack whole kinds of things.
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
from babelclip.zeroshot.background_vocabulary import background_vocabulary, languages_of

SHARPNESS = 35.0
"""Inverse temperature of the inverted softmax."""
WEIGHTS, BIAS = (0.8, 0.27, 0.2), -0.5
"""Of the cosine, of the inverted softmax, and of the words near to the text."""
NEAREST = 20
"""Photos nearest to a text, over which the inverted softmax is summed."""
NEAR_WORDS = 10
"""Words of the background vocabulary that are nearest to a text."""
STRONG, LIKELY, WEAK = 0.8, 0.5, 0.2
"""The lowest confidence of each match level; below the last one a photo is no match."""
FEWEST_PHOTOS = 10
"""Photos of a collection below which no confidence is estimated."""
ANY = "any"
"""Stands for a language that is not identified."""
HUB_SHARPNESS = 20.0

MatchLevel = Literal["strong", "likely", "weak", "none"]


@dataclass(frozen=True, slots=True)
class NearestPhotos:
    """The NEAREST photos of texts in a whole collection: float32 (m, k) cosines, the best first, and float32 (m, k) the
    hubness of each of these photos with regard to the background vocabulary.
    """

    cosines: FloatArray
    hubs: FloatArray

    @classmethod
    def of(cls, texts: FloatArray, photos: FloatArray, words: FloatArray) -> "NearestPhotos":
        """Compare texts with their nearest photos, and these with the background vocabulary.

        :param texts: float32 (m, d), unit rows
        :param photos: float32 (m, k, d), unit rows, the nearest first
        :param words: float32 (n, d), unit rows
        :return: the cosines and the hubness
        """
        hubs = hubness(photos.reshape(-1, photos.shape[-1]), words, SHARPNESS)
        return cls((photos @ texts[:, :, None])[:, :, 0], hubs.reshape(photos.shape[:2]))

    def inverted(self) -> FloatArray:
        """Compute the inverted softmax of each text: the logarithm of its sum over the photos.

        :return: float32 (m,)
        """
        return _log_sum_exp(SHARPNESS * self.cosines - self.hubs)


@dataclass(frozen=True, slots=True)
class BackgroundStatistics:
    """The background vocabulary in a collection: float32 (words, d) unit rows, float32 (words,) the cosine of each with
    its best photo; mean and standard deviation of each of the three features.
    """

    words: FloatArray
    best: FloatArray
    cosine: tuple[float, float]
    inverted: tuple[float, float]
    near: tuple[float, float]


def measure_background(words: FloatArray, nearest: NearestPhotos) -> BackgroundStatistics:
    """Measure the background vocabulary in a collection.

    :param words: float32 (n, d), unit rows
    :param nearest: their nearest photos
    :return: the statistics
    """
    best = nearest.cosines[:, 0]
    among = words @ words.T
    np.fill_diagonal(among, -1)
    numbers = best, nearest.inverted(), _of_near_words(among, best)
    return BackgroundStatistics(words, best, *map(_mean_and_deviation, numbers))


def features(
    texts: FloatArray, cosines: FloatArray, nearest: NearestPhotos, background: BackgroundStatistics
) -> FloatArray:
    """Compute the three features of texts and photos.

    :param texts: float32 (m, d), unit rows
    :param cosines: float32 (m, n), of each text with its photos
    :param nearest: the nearest photos of each text
    :param background: of the same language and collection
    :return: float32 (m, n, 3), in standard deviations
    """
    inverted = nearest.inverted()
    near = _of_near_words(cosines_of(texts, background.words), background.best)
    numbers = np.stack(np.broadcast_arrays(cosines, inverted[:, None], near[:, None]), axis=-1)
    of_words = np.array([background.cosine, background.inverted, background.near], dtype=np.float32)
    deviations: FloatArray = (numbers - of_words[:, 0]) / of_words[:, 1]
    return deviations


def confidences(
    texts: FloatArray, cosines: FloatArray, nearest: NearestPhotos, background: BackgroundStatistics
) -> FloatArray:
    """Estimate the probability that photos show what texts describe.

    :param texts: float32 (m, d), unit rows
    :param cosines: float32 (m, n), of each text with its photos
    :param nearest: the nearest photos of each text
    :param background: of the same language and collection
    :return: float32 (m, n), in 0..1
    """
    logit = features(texts, cosines, nearest, background) @ np.array(WEIGHTS, dtype=np.float32) + BIAS
    probability: FloatArray = 1 / (1 + np.exp(-logit))
    return probability


def match_level(confidence: float) -> MatchLevel:
    """Put a confidence in words.

    :param confidence: in 0..1
    :return: strong, likely, weak, or none where it is no match
    """
    if confidence >= STRONG:
        return "strong"
    return "likely" if confidence >= LIKELY else "weak" if confidence >= WEAK else "none"


def hubness(photos: FloatArray, texts: FloatArray, sharpness: float = HUB_SHARPNESS) -> FloatArray:
    """Compute how well photos match texts in general: the logarithm of the sum of exp(sharpness x cosine) over texts.

    :param photos: float32 (n, d), unit rows
    :param texts: float32 (m, d), unit rows
    :param sharpness: inverse temperature; at a higher one the best matching texts count more
    :return: float32 (n,)
    """
    return _log_sum_exp(sharpness * cosines_of(photos, texts))


def language_of_query(text: str) -> str:
    """Identify the language whose background vocabulary a query is compared with.

    :param text: the query
    :return: a code, or ANY where it is not identified or has no background vocabulary
    """
    known = languages_of(text)
    code = guess_language(text) or (next(iter(known)) if len(known) == 1 else None)
    if code is None and script_of(text) == "Latin" and "en" in known:
        code = "en"
    return code if code in BY_CODE else ANY


def vocabulary_vectors(model: Model, language: str) -> FloatArray:
    """Embed the background vocabulary of a language, or read the vectors that the data folder has of it.

    :param model: the model
    :param language: a code, or ANY for words of all its languages in turn
    :return: float32 (words, dimension), unit rows
    """
    file = settings().home / "backgrounds" / f"{model.fingerprint[:32]}-{language}.npy"
    try:
        stored: FloatArray = np.load(file)
        if stored.ndim == 2 and stored.shape[1] == model.dimension and stored.dtype == np.float32:
            return stored
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
        return background_vocabulary(language)
    vocabularies = [background_vocabulary(code) for code in model.languages]
    return [vocabularies[i % len(vocabularies)][i] for i in range(len(vocabularies[0]))]


def _log_sum_exp(logits: FloatArray) -> FloatArray:
    """Compute the logarithm of the sum of exponentials of every row."""
    top = logits.max(axis=1)
    summed: FloatArray = top + np.log(np.exp(logits - top[:, None]).sum(axis=1))
    return summed


def _of_near_words(cosines: FloatArray, best: FloatArray) -> FloatArray:
    """Average the best cosines of the words nearest to each text, of which the cosines with all words are given."""
    near = np.argpartition(-cosines, min(NEAR_WORDS, len(best)) - 1, axis=1)[:, :NEAR_WORDS]
    mean: FloatArray = best[near].mean(axis=1)
    return mean


def _mean_and_deviation(numbers: FloatArray) -> tuple[float, float]:
    return float(numbers.mean()), max(float(numbers.std()), 1e-6)
