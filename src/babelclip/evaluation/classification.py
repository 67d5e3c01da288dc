"""Zero-shot classification by language: the name of a class is its classifier (Radford et al. 2021).

Three measurements: how often it is right, whether its probabilities mean what they say, and whether it notices that a
picture shows none of the labels.
"""

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from babelclip.class_names import ClassNames
from babelclip.errors import DataError
from babelclip.evaluation.captions import read_captions
from babelclip.evaluation.retrieval import best_ranks, encode_pictures
from babelclip.evaluation.scores import Figure, LanguageScore, Report, bootstrap, figures
from babelclip.model import Model
from babelclip.vectors import FloatArray
from babelclip.zeroshot.calibration import confidence_error, fit_temperature, softmax
from babelclip.zeroshot.classifier import Classifier
from babelclip.zeroshot.labels import Label
from babelclip.zeroshot.templates import BARE

CUTS = (1, 5)
SPLITS = 5
"""Ways in which classes are parted into known and unknown ones."""
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
    :return: the pictures; those without a class are left out
    """
    known = (pair for pair in pictures if class_of is None or pair[0] in class_of)
    names, vectors, failed = encode_pictures(model, known)
    return NamedPictures([class_of[name] for name in names] if class_of else names, vectors, failed)


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


def score_accuracy(
    model: Model,
    named: NamedPictures,
    classes: Iterable[ClassNames],
    *,
    templates: bool = False,
    progress: Progress | None = None,
) -> Report:
    """Measure classification among the classes that each language names, over the pictures of those classes.

    :param model: the model
    :param named: the pictures
    :param classes: the names by language
    :param templates: measure with the templates of the language too
    :param progress: see above
    :return: figures ``top-1``, ``top-5`` and ``class mean`` (top-1, every class alike) of the bare names, and
        ``templates top-1`` and so on; a language's count is that of its pictures
    :raises DataError: if no picture is of a named class
    """
    scores = []
    for language in classes:
        vectors, truth = named.of(language.names)
        if len(truth):
            found = _accuracy(_classifier(model, language, bare=True), vectors, truth)
            if templates:
                with_templates = _accuracy(_classifier(model, language), vectors, truth)
                found |= {f"templates {name}": sample for name, sample in with_templates.items()}
            scores.append(LanguageScore(language.language, len(truth), figures(found)))
        if progress is not None:
            progress(language.language)
    return _report("Zero-shot classification", named, scores)


def score_calibration(
    model: Model, named: NamedPictures, classes: Iterable[ClassNames], *, progress: Progress | None = None
) -> Report:
    """Measure the expected calibration error on one half of the pictures, after a temperature fitted on the other.

    :param model: the model
    :param named: the pictures
    :param classes: the names by language
    :param progress: see above
    :return: figures ``ECE`` and, at the model's own logit scale, ``ECE unfitted``; a count is that of the half
    :raises DataError: if no picture is of a named class
    """
    scores = []
    for language in classes:
        vectors, truth = named.of(language.names)
        order = np.random.default_rng(SEED).permutation(len(truth))
        fitted, measured = order[::2], order[1::2]
        if len(measured):
            logits = _classifier(model, language).logits(vectors)
            warmth = np.float32(fit_temperature(logits[fitted], truth[fitted]))
            found = {
                "ECE": _calibration(logits[measured] / warmth, truth[measured]),
                "ECE unfitted": _calibration(logits[measured], truth[measured]),
            }
            scores.append(LanguageScore(language.language, len(measured), found))
        if progress is not None:
            progress(language.language)
    return _report("Calibration", named, scores)


def score_abstention(
    model: Model, named: NamedPictures, classes: Iterable[ClassNames], *, progress: Progress | None = None
) -> Report:
    """Measure whether pictures of classes that are no label are told from those of classes that are.

    Half of the classes become labels, in several random ways; the area under the ROC curve of the probability of "none
    of these" is the chance that a picture of an unknown class gets a higher one than a picture of a known class.

    :param model: the model
    :param named: the pictures
    :param classes: the names by language
    :param progress: see above
    :return: figure ``AUC``, its interval over the ways of parting; a count is that of the pictures
    :raises DataError: if no picture is of a named class
    """
    scores = []
    for language in classes:
        vectors, truth = named.of(language.names)
        keys = list(language.names)
        areas = []
        for split in range(SPLITS if len(keys) > 1 and len(truth) else 0):
            known = np.random.default_rng([SEED, split]).permutation(len(keys))[: len(keys) // 2]
            names = {keys[place]: language.names[keys[place]] for place in known.tolist()}
            labels = _classifier(model, ClassNames(language.language, names), abstain=LIMIT)
            none = labels.probabilities(vectors)[1]
            inside = np.isin(truth, known)
            if none is not None and inside.any() and not inside.all():
                areas.append(area_under_curve(none[~inside], none[inside]))
        if areas:
            scores.append(LanguageScore(language.language, len(truth), figures({"AUC": np.array(areas)})))
        if progress is not None:
            progress(language.language)
    return _report("Abstention", named, scores)


def area_under_curve(higher: FloatArray, lower: FloatArray) -> float:
    """The chance that one of some numbers is over one of others; a tie counts half (Mann & Whitney 1947).

    :param higher: (n,) numbers that should be the higher ones
    :param lower: (m,) the others
    :return: in 0..1
    """
    ordered = np.sort(lower)
    below = np.searchsorted(ordered, higher, "left") + np.searchsorted(ordered, higher, "right")
    return float(below.mean() / 2 / len(lower))


def _classifier(model: Model, classes: ClassNames, *, bare: bool = False, abstain: float | None = None) -> Classifier:
    """The names of one language as labels."""
    labels = [Label(name, (name,), key=key) for key, name in classes.names.items()]
    return Classifier(model, labels, templates=[BARE] if bare else None, language=classes.language, abstain=abstain)


def _accuracy(classifier: Classifier, vectors: FloatArray, truth: NDArray[np.int64]) -> dict[str, NDArray[np.generic]]:
    """What every picture adds to the figures."""
    scores = classifier.logits(vectors)
    placed = best_ranks(scores, truth[:, None] == np.arange(scores.shape[1]))
    counts = np.bincount(truth, minlength=scores.shape[1])
    share = len(truth) / (np.count_nonzero(counts) * counts[truth])
    found: dict[str, NDArray[np.generic]] = {f"top-{cut}": placed <= cut for cut in CUTS}
    return {**found, "class mean": (placed == 1) * share}


def _calibration(logits: FloatArray, truth: NDArray[np.int64]) -> Figure:
    """The expected calibration error of some logits."""
    probabilities = softmax(logits)
    confidence, right = probabilities.max(axis=1), probabilities.argmax(axis=1) == truth
    return bootstrap(lambda rows: confidence_error(confidence[rows], right[rows]), len(truth))


def _report(title: str, named: NamedPictures, scores: Sequence[LanguageScore]) -> Report:
    """The report, if anything was measured."""
    if not scores:
        raise DataError("no picture is of a class that has a name")
    return Report(title, f"{len(named.classes)} pictures", tuple(scores), tuple(named.failed))
