"""Evaluation of zero-shot classification by language (Radford et al. 2021): accuracy, calibration, abstention."""

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path, PurePosixPath

import numpy as np
from numpy.typing import NDArray

from babelclip.errors import DataError
from babelclip.evaluation.captions import plain_name, read_captions
from babelclip.evaluation.retrieval import LanguageCallback, best_ranks, encode_pictures
from babelclip.evaluation.scores import Figure, LanguageScore, Report, bootstrap, figures
from babelclip.models.model import Model
from babelclip.vectors import FloatArray
from babelclip.zeroshot.calibration import Calibration, confidence_error, fit_calibration, softmax
from babelclip.zeroshot.class_names import ClassNames
from babelclip.zeroshot.classifier import Classifier
from babelclip.zeroshot.labels import Label
from babelclip.zeroshot.templates import BARE

CUTS = (1, 5)
SPLITS = 5
"""Random splits of classes into known and unknown ones, and of pictures into halves."""
CHANCE_SAMPLES = 100
"""Samples of correctness for the calibration error that chance alone causes."""
ACCURACY, CALIBRATION, ABSTENTION = "Zero-shot classification", "Calibration", "Abstention"
ABSTENTION_LIMIT = 0.5
"""Limit of abstention; the area under the curve does not depend on it."""
SEED = 0


@dataclass(frozen=True, slots=True)
class NamedPictures:
    """Pictures of known classes: class of each, vectors float32 (n, d), unit rows, (name, reason) of failures,
    and notes on pictures that were left out.
    """

    classes: list[str]
    vectors: FloatArray
    failed: list[tuple[str, str]]
    notes: tuple[str, ...] = ()

    def of(self, names: Mapping[str, str]) -> tuple[FloatArray, NDArray[np.int64]]:
        """Select the pictures of named classes.

        :param names: class -> name
        :return: vectors float32 (m, d), and int64 (m,), the index of the class of each picture in ``names``
        """
        indexes = {key: index for index, key in enumerate(names)}
        rows = [row for row, key in enumerate(self.classes) if key in indexes]
        return self.vectors[rows], np.array([indexes[self.classes[row]] for row in rows], dtype=np.int64)


def embed_named(
    model: Model, pictures: Iterable[tuple[str, bytes]], class_of: Mapping[str, str] | None = None
) -> NamedPictures:
    """Embed pictures of known classes.

    :param model: the model
    :param pictures: names and bytes of files
    :param class_of: name of a picture -> its class; None if the name of a picture is its class
    :return: the pictures that have a class; the notes count the others
    :raises DataError: if ``class_of`` names two pictures at once
    """
    if class_of is None:
        names, vectors, failed = encode_pictures(model, pictures)
        return NamedPictures([PurePosixPath(name).name for name in names], vectors, failed)
    keys = {plain_name(key): key for key in class_of}
    picture_of: dict[str, str] = {}
    unnamed = 0

    def of_known_classes() -> Iterator[tuple[str, bytes]]:
        nonlocal unnamed
        for name, content in pictures:
            key = keys.get(name) or keys.get(PurePosixPath(name).name)
            if key is None:
                unnamed += 1
            elif key in picture_of:
                both = f"{picture_of[key]} and {name}"
                raise DataError(f"{key!r} is the name of two pictures, {both}; name them by their paths")
            else:
                picture_of[key] = name
                yield key, content

    names, vectors, failed = encode_pictures(model, of_known_classes())
    notes = []
    if unnamed:
        notes.append(f"{unnamed} pictures have no label and were not counted")
    if missing := len(class_of) - len(picture_of):
        notes.append(f"{missing} of {len(class_of)} labels have no picture here")
    return NamedPictures([class_of[name] for name in names], vectors, failed, tuple(notes))


def read_labelled(path: Path) -> tuple[dict[str, str], list[ClassNames]]:
    """Read classes from a caption table whose captions are labels.

    :param path: a .tsv or .tsv.gz file with the columns image, lang, kind, caption
    :return: picture -> class, which is the picture's first label; and class names by language
    :raises DataError: if the table is missing, damaged or has another format
    """
    class_of: dict[str, str] = {}
    names: dict[str, dict[str, str]] = {}
    # English first, so that the class of a picture does not depend on the order of the rows.
    for caption in sorted(read_captions(path), key=lambda caption: caption.language != "en"):
        key = class_of.setdefault(caption.image, caption.text)
        names.setdefault(caption.language, {}).setdefault(key, caption.text)
    return class_of, [ClassNames(language, by_class) for language, by_class in sorted(names.items())]


def score_zero_shot(
    model: Model,
    named: NamedPictures,
    classes: Iterable[ClassNames],
    *,
    templates: bool = False,
    calibration: bool = False,
    abstention: bool = False,
    progress: LanguageCallback | None = None,
) -> list[Report]:
    """Measure classification in each language, among the classes that it names and over their pictures.

    - Accuracy: figures ``top-1``, ``top-5`` and ``class mean`` (top-1 with equal weights of classes) of the bare names.
    - With templates: ``templates top-1`` and so on.
    - Calibration: ``ECE`` is the expected calibration error on one half of the pictures, with temperature and label
      smoothing fitted on the other, the mean over several random splits; ``ECE if perfect`` is the error that chance
      alone would cause at these confidences and this number of pictures; ``ECE unfitted`` is that of the uncalibrated
      model. The count is the size of a half.
    - Abstention: a random half of the classes are labels, in several splits. ``AUC`` is the probability that a picture
      of an unknown class has a higher probability of "none of these" than one of a known class; ``AUC if named`` is
      that with the names of the unknown classes instead of the background vocabulary, an upper bound.

    :param model: the model
    :param named: the pictures
    :param classes: class names by language
    :param templates: measure prompt templates
    :param calibration: measure calibration
    :param abstention: measure abstention
    :param progress: receives the code of each measured language
    :return: a report on accuracy, and the chosen ones on calibration and abstention
    :raises DataError: if no picture is of a named class
    """
    scores: dict[str, list[LanguageScore]] = {ACCURACY: []}
    scores |= {CALIBRATION: []} if calibration else {}
    scores |= {ABSTENTION: []} if abstention else {}
    for language in classes:
        vectors, truth = named.of(language.names)
        code, count = language.language, len(truth)
        if count:
            figures_of = _accuracy(_classifier(model, language, [BARE]), vectors, truth)
            if templates or calibration or abstention:
                labels = _classifier(model, language, None, ABSTENTION_LIMIT if abstention else None)
            if templates:
                figures_of |= {f"templates {name}": score for name, score in _accuracy(labels, vectors, truth).items()}
            scores[ACCURACY].append(LanguageScore(code, count, figures_of))
            if calibration and count > 1:
                errors = _calibration(labels.logits(vectors), truth)
                scores[CALIBRATION].append(LanguageScore(code, count // 2, errors))
            if abstention and (areas := _abstention(labels, vectors, truth)):
                scores[ABSTENTION].append(LanguageScore(code, count, areas))
        if progress is not None:
            progress(code)
    if not all(scores.values()):
        raise DataError(
            "no picture is of a class that has a name, or too few are; compare names of pictures with class ids"
        )
    subject, failed = f"{len(named.classes)} pictures", tuple(named.failed)
    return [Report(title, subject, tuple(of_title), failed, named.notes) for title, of_title in scores.items()]


def class_splits(classes: int) -> Iterator[NDArray[np.int64]]:
    """Split classes randomly into known and unknown ones, several times.

    :param classes: number of classes, two or more
    :yield: int64, the sorted indexes of the known half
    """
    for split in range(SPLITS):
        yield np.sort(np.random.default_rng([SEED, split]).permutation(classes)[: classes // 2])


def area_under_curve(higher: FloatArray, lower: FloatArray) -> float:
    """Compute the probability that a positive score exceeds a negative one; ties count half (Mann & Whitney 1947).

    :param higher: (n,) scores of positives
    :param lower: (m,) scores of negatives
    :return: the area under the ROC curve, in 0..1
    """
    ordered = np.sort(lower)
    below = np.searchsorted(ordered, higher, "left") + np.searchsorted(ordered, higher, "right")
    return float(below.mean() / 2 / len(lower))


def _classifier(
    model: Model, classes: ClassNames, templates: Sequence[str] | None, abstain: float | None = None
) -> Classifier:
    """Make a classifier whose labels are the class names of one language."""
    labels = [Label(name, (name,), key=key) for key, name in classes.names.items()]
    return Classifier(model, labels, templates=templates, language=classes.language, abstain=abstain)


def _accuracy(classifier: Classifier, vectors: FloatArray, truth: NDArray[np.int64]) -> dict[str, Figure]:
    """Compute top-k accuracies."""
    scores = classifier.logits(vectors)
    ranks = best_ranks(scores, truth[:, None] == np.arange(scores.shape[1]))
    counts = np.bincount(truth, minlength=scores.shape[1])
    share = len(truth) / (np.count_nonzero(counts) * counts[truth])
    samples: dict[str, NDArray[np.generic]] = {f"top-{cut}": ranks <= cut for cut in CUTS}
    return figures({**samples, "class mean": (ranks == 1) * share})


def _calibration(logits: FloatArray, truth: NDArray[np.int64]) -> dict[str, Figure]:
    """Compute calibration errors on held-out halves; the interval is the mean of their intervals."""
    right = logits.argmax(axis=1) == truth
    unfitted = Calibration().probabilities(logits).max(axis=1)
    errors: dict[str, list[Figure]] = {"ECE": [], "ECE if perfect": [], "ECE unfitted": []}
    for split in range(SPLITS):
        rng = np.random.default_rng([SEED, split])
        order = rng.permutation(len(truth))
        fitted, measured = order[::2], order[1::2]
        confidence = fit_calibration(logits[fitted], truth[fitted]).probabilities(logits[measured]).max(axis=1)
        chance = [confidence_error(confidence, rng.random(len(measured)) < confidence) for _ in range(CHANCE_SAMPLES)]
        errors["ECE"].append(_error(confidence, right[measured]))
        errors["ECE if perfect"].append(Figure(float(np.mean(chance)), *np.percentile(chance, [2.5, 97.5]).tolist()))
        errors["ECE unfitted"].append(_error(unfitted[measured], right[measured]))
    return {name: _mean(of_split) for name, of_split in errors.items()}


def _error(confidence: FloatArray, right: NDArray[np.bool_]) -> Figure:
    """Compute the expected calibration error with its interval."""
    return bootstrap(lambda rows: confidence_error(confidence[rows], right[rows]), len(right))


def _mean(of_splits: Sequence[Figure]) -> Figure:
    """Compute the mean of figures and of their bounds."""
    value, low, high = np.mean([(figure.value, figure.low, figure.high) for figure in of_splits], axis=0).tolist()
    return Figure(value, low, high)


def _abstention(labels: Classifier, vectors: FloatArray, truth: NDArray[np.int64]) -> dict[str, Figure]:
    """Compute areas under the curve for several splits of the classes; the interval is over these."""
    probabilities = softmax(labels.logits(vectors))
    areas = []
    for known in class_splits(len(labels.labels)) if len(labels.labels) > 1 else ():
        is_known = np.isin(truth, known)
        none = labels.among(known.tolist()).probabilities(vectors)[1]
        if none is not None and is_known.any() and not is_known.all():
            named = 1 - probabilities[:, known].sum(axis=1)
            areas.append([area_under_curve(rejection[~is_known], rejection[is_known]) for rejection in (none, named)])
    return figures(dict(zip(("AUC", "AUC if named"), np.array(areas).T, strict=True))) if areas else {}
