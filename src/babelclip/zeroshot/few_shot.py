"""Few-shot examples: a few pictures of a class refine its text vector.

Prototypes are combined with the text vectors as in Tip-Adapter (Zhang et al. 2022) without its cache: the class vector
becomes (1 - w) x text + w x the mean of its pictures' unit vectors. Labels without examples and the background
vocabulary use the mean of all prototypes, so that their scores remain comparable. Weight, temperature and label
smoothing are chosen by leave-one-out: every picture is classified by prototypes without it. A picture that is the only
example of its label is left out of this choice.
"""

from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from babelclip.errors import InputError
from babelclip.media.crawl import photos_below
from babelclip.media.images import ImageInput
from babelclip.vectors import FloatArray
from babelclip.zeroshot.background_vocabulary import folded
from babelclip.zeroshot.calibration import Calibration, calibration_error, fit_calibration
from babelclip.zeroshot.classifier import Classifier

WEIGHTS = (0.0, 0.1, 0.2, 0.3, 0.4, 0.5, 0.6, 0.7, 0.8)
DEFAULT_WEIGHT = 0.5
"""Weight if no label has two examples, so that leave-one-out is impossible. One picture per label improves emoji, Tux
Paint's stamps and Caltech-101 by twenty points of top-1, and weights from 0.4 to 0.8 differ by a few."""
MIN_PROBABILITY = 1e-12


@dataclass(frozen=True, slots=True)
class Refinement:
    """The effect of few-shot examples, measured by leave-one-out.

    ``judged`` is the number of pictures whose label has other examples; the accuracies, by texts alone and with
    examples, and the calibration error are over these. Without any, ``text_accuracy`` is over all pictures and the
    others are None. Weight and calibration were chosen on the same pictures.
    """

    examples: int
    classes: int
    judged: int
    text_accuracy: float
    accuracy: float | None
    calibration_error: float | None
    weight: float
    calibration: Calibration


def refine(classifier: Classifier, examples: Mapping[str, Sequence[ImageInput]]) -> Refinement:
    """Refine a classifier by example pictures, and choose its calibration on them.

    :param classifier: the classifier to change, see refine_by_vectors
    :param examples: name of a label, or its key if the name is ambiguous -> pictures
    :return: the effect
    :raises InputError: if a name is unknown or ambiguous, or there are no pictures
    :raises ImageError: if a picture cannot be read
    """
    pictures = [(row, picture) for row, of_label in _by_row(classifier, examples) for picture in of_label]
    if not pictures:
        raise InputError("there are no example pictures; give at least one")
    vectors = classifier.model.encode_images([picture for _, picture in pictures])
    return refine_by_vectors(classifier, vectors, np.array([row for row, _ in pictures], dtype=np.int64))


def refine_by_vectors(classifier: Classifier, vectors: FloatArray, truth: NDArray[np.int64]) -> Refinement:
    """Refine a classifier by embedded pictures, and choose its calibration on them.

    :param classifier: the classifier whose matrix, background and calibration change; no other thread may use it
    :param vectors: float32 (n, d), unit rows, one or more
    :param truth: int64 (n,), the row of each picture's label
    :return: the effect
    """
    text = classifier.text_matrix
    sums = np.zeros_like(text)
    np.add.at(sums, truth, vectors)
    counts = np.bincount(truth, minlength=len(text)).astype(np.float32)
    has_examples = counts > 0
    prototypes = sums / np.maximum(counts, 1)[:, None]
    mean_prototype: FloatArray = prototypes[has_examples].mean(axis=0)
    prototypes[~has_examples] = mean_prototype
    scale = np.float32(classifier.model.logit_scale)
    by_text: FloatArray = scale * (vectors @ text.T)
    by_example: FloatArray = (scale * (vectors @ prototypes.T)).astype(np.float32)
    # Leaving a picture out changes the prototype of its label only; the only example of a label cannot be judged.
    others = counts[truth] - 1
    judged = np.flatnonzero(others > 0)
    left_out = (sums[truth[judged]] - vectors[judged]) / others[judged, None]
    by_example[judged, truth[judged]] = scale * (vectors[judged] * left_out).sum(axis=1)
    if len(judged):
        chosen = max(
            (_evaluate_weight(by_text[judged], by_example[judged], truth[judged], weight) for weight in WEIGHTS),
            key=lambda result: (result.log_likelihood, -result.weight),
        )
        weight, fitted = chosen.weight, chosen.fitted
    else:
        chosen, weight, fitted = None, DEFAULT_WEIGHT, fit_calibration(by_text, truth)
    right = by_text.argmax(axis=1) == truth
    classifier.matrix = ((1 - weight) * text + weight * prototypes).astype(np.float32)
    if classifier.background is not None:
        vectors_of_words = ((1 - weight) * classifier.background.text_vectors + weight * mean_prototype).astype(
            np.float32
        )
        classifier.background = replace(classifier.background, vectors=vectors_of_words)
    classifier.calibration = fitted
    text_accuracy = float(right[judged].mean() if len(judged) else right.mean())
    return Refinement(
        len(truth),
        int(has_examples.sum()),
        len(judged),
        text_accuracy,
        chosen.accuracy if chosen else None,
        chosen.error if chosen else None,
        weight,
        fitted,
    )


@dataclass(frozen=True, slots=True)
class _WeightResult:
    """Calibration, mean log-likelihood, accuracy and calibration error of a weight, by leave-one-out."""

    weight: float
    fitted: Calibration
    log_likelihood: float
    accuracy: float
    error: float


def _evaluate_weight(
    by_text: FloatArray, by_example: FloatArray, truth: NDArray[np.int64], weight: float
) -> _WeightResult:
    logits = ((1 - weight) * by_text + weight * by_example).astype(np.float32)
    fitted = fit_calibration(logits, truth)
    probabilities = fitted.probabilities(logits)
    log_likelihood = float(np.log(probabilities[np.arange(len(truth)), truth] + MIN_PROBABILITY).mean())
    right = logits.argmax(axis=1) == truth
    return _WeightResult(weight, fitted, log_likelihood, float(right.mean()), calibration_error(probabilities, truth))


def read_examples(folder: Path, on_error: Callable[[OSError], None]) -> dict[str, list[Path]]:
    """List few-shot examples: one folder for each label, named by it.

    :param folder: the folder of these folders; hidden folders are skipped
    :param on_error: receives the error of an unreadable folder
    :return: label -> photo files
    :raises InputError: if there is no such folder, or it holds no photos
    """
    if not folder.is_dir():
        raise InputError(
            f"{folder}: no such folder; --examples needs a folder that holds one folder of pictures for each label"
        )
    folders = sorted(path for path in folder.iterdir() if path.is_dir() and not path.name.startswith("."))
    by_label = {path.name: list(photos_below(path, on_error)) for path in folders}
    if not any(by_label.values()):
        raise InputError(
            f"{folder} holds no folder with photos; --examples needs one folder of pictures for each label"
        )
    return {name: photos for name, photos in by_label.items() if photos}


def _by_row(
    classifier: Classifier, examples: Mapping[str, Sequence[ImageInput]]
) -> list[tuple[int, Sequence[ImageInput]]]:
    """Map examples to the rows of their labels, by key or by unambiguous name."""
    keys = {label.key: row for row, label in enumerate(classifier.labels) if label.key}
    names = {folded(label.name): row for row, label in enumerate(classifier.labels)}
    counts = Counter(folded(label.name) for label in classifier.labels)
    by_row = []
    for name, pictures in examples.items():
        if name not in keys and counts[folded(name)] > 1:
            raise InputError(
                f"{name!r} is the name of {counts[folded(name)]} labels; name the examples by a label's key"
            )
        if name not in keys and folded(name) not in names:
            known = ", ".join(label.name for label in classifier.labels[:10])
            raise InputError(f"{name!r} has examples but is not a label; the labels are {known}")
        by_row.append((keys[name] if name in keys else names[folded(name)], pictures))
    return by_row
