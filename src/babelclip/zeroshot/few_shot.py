"""Few-shot: a handful of pictures of each class refine what its texts say.

Prototypes beside the text prior, as in Tip-Adapter (Zhang et al. 2022) without its cache: the class vector becomes
(1 - w) x text + w x the mean of its pictures' unit vectors. What has no pictures, other labels and everyday things,
gets the mean of all prototypes in their place, so that it stays comparable. The weight, temperature and doubt are
chosen by leave-one-out: every picture is classified by prototypes that were made without it. Where that leaves none of
its label, it says nothing about the weight, and is passed over.
"""

from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from babelclip.errors import InputError
from babelclip.media.crawl import photos_below
from babelclip.media.images import ImageSource
from babelclip.vectors import FloatArray
from babelclip.zeroshot.calibration import Calibration, calibration_error, fit_calibration
from babelclip.zeroshot.classifier import Classifier
from babelclip.zeroshot.everyday_words import folded

WEIGHTS = (0.0, 0.1, 0.2, 0.3, 0.4, 0.5, 0.6, 0.7, 0.8)
UNJUDGED_WEIGHT = 0.5
"""Where no label has two examples, so that none can be judged by another: one picture a label then brings emoji, Tux
Paint's stamps and Caltech-101 twenty points of top-1, and weights from 0.4 to 0.8 differ by a few."""
LEAST_PROBABILITY = 1e-12


@dataclass(frozen=True, slots=True)
class Refinement:
    """What examples did, by leave-one-out: how many could be judged, as their label has others; accuracy over these by
    texts alone (over all, where none can be judged) and with the other examples; the expected calibration error that is
    left; and the weight and calibration, which were chosen on the same pictures.
    """

    examples: int
    classes: int
    judged: int
    text_accuracy: float
    accuracy: float | None
    calibration_error: float | None
    weight: float
    calibration: Calibration


def refine(classifier: Classifier, examples: Mapping[str, Sequence[ImageSource]]) -> Refinement:
    """Refine a classifier by example pictures, and choose its calibration on them.

    :param classifier: is changed, as by refine_by_vectors
    :param examples: a label's name, or its key where several have one name -> pictures
    :return: what it brought
    :raises InputError: if a name is no label or that of several, or there are no pictures
    :raises ImageError: if a picture cannot be used
    """
    pictures = [(place, picture) for place, own in _placed(classifier, examples) for picture in own]
    if not pictures:
        raise InputError("there are no example pictures")
    vectors = classifier.model.encode_images([picture for _, picture in pictures])
    return refine_by_vectors(classifier, vectors, np.array([place for place, _ in pictures], dtype=np.int64))


def refine_by_vectors(classifier: Classifier, vectors: FloatArray, truth: NDArray[np.int64]) -> Refinement:
    """The same with pictures that are embedded already.

    :param classifier: is changed: its matrix, its everyday things and its calibration; not while it is used elsewhere
    :param vectors: float32 (n, d), unit rows, one or more
    :param truth: int64 (n,), the place of each picture's label
    :return: what it brought
    """
    text = classifier.text_matrix
    sums = np.zeros_like(text)
    np.add.at(sums, truth, vectors)
    counts = np.bincount(truth, minlength=len(text)).astype(np.float32)
    there = counts > 0
    prototypes = sums / np.maximum(counts, 1)[:, None]
    missing: FloatArray = prototypes[there].mean(axis=0)
    prototypes[~there] = missing
    scale = np.float32(classifier.model.logit_scale)
    by_text: FloatArray = scale * (vectors @ text.T)
    by_example: FloatArray = (scale * (vectors @ prototypes.T)).astype(np.float32)
    # Only a picture's own prototype changes when it is left out; where it was the only one, nothing judges it.
    others = counts[truth] - 1
    judged = np.flatnonzero(others > 0)
    left_out = (sums[truth[judged]] - vectors[judged]) / others[judged, None]
    by_example[judged, truth[judged]] = scale * (vectors[judged] * left_out).sum(axis=1)
    if len(judged):
        chosen = max(
            (_tried(by_text[judged], by_example[judged], truth[judged], weight) for weight in WEIGHTS),
            key=lambda tried: (tried.likely, -tried.weight),
        )
        weight, fitted = chosen.weight, chosen.fitted
    else:
        chosen, weight, fitted = None, UNJUDGED_WEIGHT, fit_calibration(by_text, truth)
    right = by_text.argmax(axis=1) == truth
    classifier.matrix = ((1 - weight) * text + weight * prototypes).astype(np.float32)
    if classifier.everyday is not None:
        things = ((1 - weight) * classifier.everyday.text_vectors + weight * missing).astype(np.float32)
        classifier.everyday = replace(classifier.everyday, vectors=things)
    classifier.calibration = fitted
    text_accuracy = float(right[judged].mean() if len(judged) else right.mean())
    return Refinement(
        len(truth),
        int(there.sum()),
        len(judged),
        text_accuracy,
        chosen.accuracy if chosen else None,
        chosen.error if chosen else None,
        weight,
        fitted,
    )


@dataclass(frozen=True, slots=True)
class _Tried:
    """A weight: its calibration, how likely the truth then is, and how well pictures are judged that were left out."""

    weight: float
    fitted: Calibration
    likely: float
    accuracy: float
    error: float


def _tried(by_text: FloatArray, by_example: FloatArray, truth: NDArray[np.int64], weight: float) -> _Tried:
    logits = ((1 - weight) * by_text + weight * by_example).astype(np.float32)
    fitted = fit_calibration(logits, truth)
    probabilities = fitted.probabilities(logits)
    likely = float(np.log(probabilities[np.arange(len(truth)), truth] + LEAST_PROBABILITY).mean())
    right = logits.argmax(axis=1) == truth
    return _Tried(weight, fitted, likely, float(right.mean()), calibration_error(probabilities, truth))


def read_examples(folder: Path, on_error: Callable[[OSError], None]) -> dict[str, list[Path]]:
    """Examples in folders: one folder a label, named by it.

    :param folder: the folder of folders; hidden ones are passed over
    :param on_error: is told of folders that cannot be read
    :return: label -> photo files
    :raises InputError: if there is no such folder, or nothing in it
    """
    if not folder.is_dir():
        raise InputError(f"{folder}: no such folder; examples are one folder a label in it")
    folders = sorted(path for path in folder.iterdir() if path.is_dir() and not path.name.startswith("."))
    found = {own.name: list(photos_below(own, on_error)) for own in folders}
    if not any(found.values()):
        raise InputError(f"{folder} holds no folders with photos; examples are one folder a label in it")
    return {name: photos for name, photos in found.items() if photos}


def _placed(
    classifier: Classifier, examples: Mapping[str, Sequence[ImageSource]]
) -> list[tuple[int, Sequence[ImageSource]]]:
    """The examples by the place of their label, which its key or its name alone tells."""
    keys = {label.key: place for place, label in enumerate(classifier.labels) if label.key}
    names = {folded(label.name): place for place, label in enumerate(classifier.labels)}
    times = Counter(folded(label.name) for label in classifier.labels)
    placed = []
    for name, own in examples.items():
        if name not in keys and times[folded(name)] > 1:
            raise InputError(
                f"{name!r} is the name of {times[folded(name)]} labels; name the examples by a label's key"
            )
        if name not in keys and folded(name) not in names:
            known = ", ".join(label.name for label in classifier.labels[:10])
            raise InputError(f"{name!r} has examples but is no label; labels are {known}")
        placed.append((keys[name] if name in keys else names[folded(name)], own))
    return placed
