"""How sure is a match? A query's cosine is compared with what everyday words get in the same collection.

Raw cosines mean little: they differ by model, language and collection. So two hundred everyday words of the query's
language are asked of the collection too. Of a query and a photo two numbers count, each in standard deviations from the
mean of what the words have with their own best photos: the cosine, and the inverted softmax (Smith et al. 2017), which
is the cosine against those that the words have with the same photo, so that a photo that fits everything counts less.
A logistic function of both is the confidence; its constants were fitted by tools/measure_confidence.py, on collections
that lack whole kinds of things.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

import numpy as np

from babelclip.detection import guess_language, script_of
from babelclip.languages import BY_CODE
from babelclip.model import Model
from babelclip.settings import settings
from babelclip.vectors import FloatArray, cosines_of
from babelclip.zeroshot.background import everyday_words, languages_of

SHARPNESS = 35.0
"""What cosines are multiplied by in the inverted softmax."""
WEIGHT_COSINE, WEIGHT_INVERTED, BIAS = 1.2, 0.4, -0.3
STRONG, LIKELY, WEAK = 0.8, 0.5, 0.2
"""The least confidences of the words that name it; below the last one a photo is no match."""
FEWEST_PHOTOS = 10
"""In a smaller collection nothing can be said."""
ANY = "any"
"""Stands for a language that cannot be told."""
HUB_SHARPNESS = 20.0

Strength = Literal["strong", "likely", "weak", "none"]


@dataclass(frozen=True, slots=True)
class Evidence:
    """What everyday words get in a collection: float32 (words, d) unit rows; mean and deviation of both numbers."""

    words: FloatArray
    cosine: tuple[float, float]
    inverted: tuple[float, float]


def gather_evidence(words: FloatArray, cosines: FloatArray, photos: FloatArray) -> Evidence:
    """What words get in a collection.

    :param words: float32 (n, d), unit rows
    :param cosines: float32 (n,), of each word with its best photo
    :param photos: float32 (n, d), these photos, unit rows
    :return: the evidence
    """
    inverted = SHARPNESS * cosines - hubness(photos, words, SHARPNESS)
    return Evidence(words, _mean_and_deviation(cosines), _mean_and_deviation(inverted))


def confidences(cosines: FloatArray, photos: FloatArray, evidence: Evidence) -> FloatArray:
    """How sure it is that photos show what a text says.

    :param cosines: float32 (n,), of the text with photos
    :param photos: float32 (n, d), these photos, unit rows
    :param evidence: of the same language and collection
    :return: float32 (n,), in 0..1
    """
    inverted = SHARPNESS * cosines - hubness(photos, evidence.words, SHARPNESS)
    logit = (
        WEIGHT_COSINE * (cosines - evidence.cosine[0]) / evidence.cosine[1]
        + WEIGHT_INVERTED * (inverted - evidence.inverted[0]) / evidence.inverted[1]
        + BIAS
    )
    found: FloatArray = (1 / (1 + np.exp(-logit))).astype(np.float32)
    return found


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
    logits = sharpness * cosines_of(photos, texts)
    top = logits.max(axis=1)
    summed: FloatArray = top + np.log(np.exp(logits - top[:, None]).sum(axis=1))
    return summed


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


def _mean_and_deviation(numbers: FloatArray) -> tuple[float, float]:
    return float(numbers.mean()), max(float(numbers.std()), 1e-6)
