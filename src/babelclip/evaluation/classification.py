"""Zero-shot classification by language: the name of a class is its classifier (Radford et al. 2021).

Three measurements: how often it is right, whether its probabilities mean what they say, and whether it notices that a
picture shows none of the labels.
"""

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path, PurePosixPath

import numpy as np
from numpy.typing import NDArray

from babelclip.errors import DataError
from babelclip.evaluation.captions import plain_name, read_captions
from babelclip.evaluation.retrieval import best_ranks, encode_pictures
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
"""Ways in which classes are parted into known and unknown ones, and pictures into halves."""
DRAWS = 100
"""Of what is right, for the error that chance alone gives."""
ACCURACY, CALIBRATION, ABSTENTION = "Zero-shot classification", "Calibration", "Abstention"
LIMIT = 0.5
"""Of abstention; the area under the curve does not depend on it."""
SEED = 0
Progress = Callable[[str], None]
"""Is told what was finished: a language's code."""


@dataclass(frozen=True, slots=True)
class NamedPictures:
    """Pictures of known classes: the class of each, float32 (n, d) unit rows, and (name, reason) of the unreadable."""

    classes: list[str]
    vectors: FloatArray
    failed: list[tuple[str, str]]
    notes: tuple[str, ...] = ()

    def of(self, names: Mapping[str, str]) -> tuple[FloatArray, NDArray[np.int64]]:
        """The pictures of those classes that have a name.

        :param names: class -> name
        :return: float32 (m, d), and int64 (m,), the place of each one's class among the names
        """
        places = {key: place for place, key in enumerate(names)}
        rows = [row for row, key in enumerate(self.classes) if key in places]
        return self.vectors[rows], np.array([places[self.classes[row]] for row in rows], dtype=np.int64)


def embed_named(
    model: Model, pictures: Iterable[tuple[str, bytes]], class_of: Mapping[str, str] | None = None
) -> NamedPictures:
    """Embed pictures of known classes.

    :param model: the model
    :param pictures: names and bytes of files
    :param class_of: a picture's name -> its class; None where pictures are named by their class
    :return: the pictures; those without a class are left out and counted
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
    """Classes from a caption table whose captions are labels, as that of a labelled picture set.

    :param path: a .tsv or .tsv.gz file with the columns image, lang, kind, caption
    :return: picture -> class, which is called by the picture's first label; and the names by language
    :raises DataError: if it is missing, damaged or has another form
    """
    class_of: dict[str, str] = {}
    names: dict[str, dict[str, str]] = {}
    # English first, where it is there, so that a class has one name whatever the order of the rows.
    for caption in sorted(read_captions(path), key=lambda caption: caption.language != "en"):
        key = class_of.setdefault(caption.image, caption.text)
        names.setdefault(caption.language, {}).setdefault(key, caption.text)
    return class_of, [ClassNames(language, own) for language, own in sorted(names.items())]


def score_zero_shot(
    model: Model,
    named: NamedPictures,
    classes: Iterable[ClassNames],
    *,
    templates: bool = False,
    calibration: bool = False,
    abstention: bool = False,
    progress: Progress | None = None,
) -> list[Report]:
    """Measure classification among the classes that each language names, over the pictures of those classes.

    - Accuracy: figures ``top-1``, ``top-5`` and ``class mean`` (top-1, every class alike) of the bare names.
    - With templates: ``templates top-1`` and so on too.
    - Calibration: ``ECE``, the expected calibration error on one half of the pictures, with temperature and doubt
      fitted on the other, the mean over several random halves; ``ECE if perfect``, which chance alone would give a
      classifier of just these confidences on so many pictures; ``ECE unfitted``, of the model's own logit scale. A
      count is that of the half.
    - Abstention: half of the classes become labels, in several random ways. ``AUC`` is the chance that a picture of an
      unknown class gets a higher probability of "none of these" than one of a known class; ``AUC if named``, if the
      names of the unknown classes themselves stood in the place of everyday things: more is not to be had from texts.

    :param model: the model
    :param named: the pictures
    :param classes: the names by language
    :param templates: see above
    :param calibration: see above
    :param abstention: see above
    :param progress: is told of every language that was finished
    :return: a report for accuracy, and for calibration and abstention where they are asked for
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
                labels = _classifier(model, language, None, LIMIT if abstention else None)
            if templates:
                figures_of |= {f"templates {name}": one for name, one in _accuracy(labels, vectors, truth).items()}
            scores[ACCURACY].append(LanguageScore(code, count, figures_of))
            if calibration and count > 1:
                found = _calibration(labels.logits(vectors), truth)
                scores[CALIBRATION].append(LanguageScore(code, count // 2, found))
            if abstention and (areas := _abstention(labels, vectors, truth)):
                scores[ABSTENTION].append(LanguageScore(code, count, areas))
        if progress is not None:
            progress(code)
    if not all(scores.values()):
        raise DataError("no picture is of a class that has a name, or too few are")
    subject, failed = f"{len(named.classes)} pictures", tuple(named.failed)
    return [Report(title, subject, tuple(own), failed, named.notes) for title, own in scores.items()]


def partings(classes: int) -> Iterator[NDArray[np.int64]]:
    """Several random ways of parting classes into known and unknown ones.

    :param classes: how many there are, two or more
    :yield: int64, the places of the known half
    """
    for split in range(SPLITS):
        yield np.sort(np.random.default_rng([SEED, split]).permutation(classes)[: classes // 2])


def area_under_curve(higher: FloatArray, lower: FloatArray) -> float:
    """The chance that one of some numbers is over one of others; a tie counts half (Mann & Whitney 1947).

    :param higher: (n,) numbers that should be the higher ones
    :param lower: (m,) the others
    :return: in 0..1
    """
    ordered = np.sort(lower)
    below = np.searchsorted(ordered, higher, "left") + np.searchsorted(ordered, higher, "right")
    return float(below.mean() / 2 / len(lower))


def _classifier(
    model: Model, classes: ClassNames, templates: Sequence[str] | None, abstain: float | None = None
) -> Classifier:
    """The names of one language as labels."""
    labels = [Label(name, (name,), key=key) for key, name in classes.names.items()]
    return Classifier(model, labels, templates=templates, language=classes.language, abstain=abstain)


def _accuracy(classifier: Classifier, vectors: FloatArray, truth: NDArray[np.int64]) -> dict[str, Figure]:
    """How often the truth is the best label, or among the best."""
    scores = classifier.logits(vectors)
    placed = best_ranks(scores, truth[:, None] == np.arange(scores.shape[1]))
    counts = np.bincount(truth, minlength=scores.shape[1])
    share = len(truth) / (np.count_nonzero(counts) * counts[truth])
    found: dict[str, NDArray[np.generic]] = {f"top-{cut}": placed <= cut for cut in CUTS}
    return figures({**found, "class mean": (placed == 1) * share})


def _calibration(logits: FloatArray, truth: NDArray[np.int64]) -> dict[str, Figure]:
    """Errors on halves that were not fitted on; the interval is the mean of the halves' intervals."""
    right = logits.argmax(axis=1) == truth
    unfitted = Calibration().probabilities(logits).max(axis=1)
    found: dict[str, list[Figure]] = {"ECE": [], "ECE if perfect": [], "ECE unfitted": []}
    for split in range(SPLITS):
        rng = np.random.default_rng([SEED, split])
        order = rng.permutation(len(truth))
        fitted, measured = order[::2], order[1::2]
        own = fit_calibration(logits[fitted], truth[fitted]).probabilities(logits[measured]).max(axis=1)
        chance = [confidence_error(own, rng.random(len(own)) < own) for _ in range(DRAWS)]
        found["ECE"].append(_error(own, right[measured]))
        found["ECE if perfect"].append(Figure(float(np.mean(chance)), *np.percentile(chance, [2.5, 97.5]).tolist()))
        found["ECE unfitted"].append(_error(unfitted[measured], right[measured]))
    return {name: _mean(own) for name, own in found.items()}


def _error(confidence: FloatArray, right: NDArray[np.bool_]) -> Figure:
    """The expected calibration error of some answers."""
    return bootstrap(lambda rows: confidence_error(confidence[rows], right[rows]), len(right))


def _mean(own: Sequence[Figure]) -> Figure:
    """The mean of figures, and of their bounds."""
    value, low, high = np.mean([(one.value, one.low, one.high) for one in own], axis=0).tolist()
    return Figure(value, low, high)


def _abstention(labels: Classifier, vectors: FloatArray, truth: NDArray[np.int64]) -> dict[str, Figure]:
    """Areas under the curve for several ways of parting the classes; the interval is over these."""
    everything = softmax(labels.logits(vectors))
    areas = []
    for known in partings(len(labels.labels)) if len(labels.labels) > 1 else ():
        inside = np.isin(truth, known)
        none = labels.among(known.tolist()).probabilities(vectors)[1]
        if none is not None and inside.any() and not inside.all():
            named = 1 - everything[:, known].sum(axis=1)
            areas.append([area_under_curve(one[~inside], one[inside]) for one in (none, named)])
    return figures(dict(zip(("AUC", "AUC if named"), np.array(areas).T, strict=True))) if areas else {}
