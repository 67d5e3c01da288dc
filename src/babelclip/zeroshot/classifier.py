"""Zero-shot classification of images by text labels.

The vector of a class is the normalized mean of the unit vectors of its prompts (Radford et al. 2021; open_clip does the
same), in which the bare name has a higher weight than the other templates. The logit of a picture is the model's logit
scale times the cosine, divided by a temperature. All class vectors form one matrix, which is computed once.
"""

import copy
import math
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any, TypeVar, overload

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from babelclip.errors import ImageError, InputError
from babelclip.media.images import ImageInput
from babelclip.models.model import Model
from babelclip.pipeline import chunks
from babelclip.vectors import FloatArray, cosines_of, unit_rows
from babelclip.zeroshot.background_vocabulary import Background, background_vocabulary, make_background
from babelclip.zeroshot.calibration import MAX_LABEL_SMOOTHING, Calibration, softmax
from babelclip.zeroshot.label_language import language_of
from babelclip.zeroshot.labels import Label, as_labels
from babelclip.zeroshot.prediction import Prediction, Ranked
from babelclip.zeroshot.templates import check_templates, fill, templates_of

PROMPT_BATCH = 8192
BARE_SHARE = 0.75
"""Weight of the bare name in a class; the templates of the language share the rest. With equal weights, templates cost
Finnish four points of top-1 on ImageNet names; with this one no language loses more than one (see
docs/benchmarks/classification.md)."""
PICTURE_BATCH = 64
TOP = 10
"""Default number of ranked labels."""
ABSTENTION_LIMIT = 0.5
"""Default limit of abstention for independent labels."""
MIN_CHILD_SHARE = 0.5
"""Share of its parent's score that a label must exceed to be the answer instead of the parent."""
MAX_LOGIT_DIFFERENCE = 80.0
"""Difference of logits beyond which a probability is 0 or 1 in float32."""

Picture = TypeVar("Picture", str, Path, bytes, Image.Image, NDArray[Any], ImageInput)
Labels = Sequence[str | Label] | Mapping[str, Any]
ProgressCallback = Callable[[int, int], None]
"""Receives the number of embedded prompts and their total."""


class Classifier:
    """Embedded labels that classify any number of images. Thread-safe.

    ``text_matrix`` holds the text vectors of the labels, ``matrix`` the vectors that images are compared with: float32
    (labels, d). They differ after refinement by examples.
    """

    def __init__(
        self,
        model: Model,
        labels: Labels,
        *,
        templates: Sequence[str] | None = None,
        language: str | None = None,
        temperature: float = 1.0,
        label_smoothing: float = 0.0,
        multi: bool = False,
        abstain: float | None = None,
        progress: ProgressCallback | None = None,
    ) -> None:
        """Embed the labels.

        :param model: a dual encoder
        :param labels: names; or name -> other texts of the class; or name -> labels below it (a tree)
        :param templates: texts with one ``{}``; None uses those of the language, ``["{}"]`` the bare names
        :param language: language of the labels; None identifies it; without templates of it the bare names are used
        :param temperature: divisor of the logits; over 1 lowers confidence (see calibration.fit_calibration)
        :param label_smoothing: share of probability that is spread evenly over all labels
        :param multi: score every label independently against the background vocabulary, so that several or none apply
        :param abstain: limit of the total probability of the background vocabulary (without synonyms of labels), over
            which the answer is "none of these"; None never rejects, except with the limit 0.5 for a single label and
            with ``multi``
        :param progress: receives the number of embedded prompts
        :raises InputError: if there are no labels, one is blank, unreadable or repeated, or a number is out of range
        :raises ModelError: if the model has no text tower
        """
        if not 0 < temperature < math.inf:
            raise InputError(f"temperature must be over 0, not {temperature}")
        if abstain is not None and not 0 < abstain < 1:
            raise InputError(f"abstain must be between 0 and 1, not {abstain}")
        if not 0 <= label_smoothing <= MAX_LABEL_SMOOTHING:
            raise InputError(f"label_smoothing must be between 0 and {MAX_LABEL_SMOOTHING}, not {label_smoothing}")
        self.model = model
        self.labels = as_labels(labels)
        self.language = language.casefold().replace("_", "-") if language else language_of(self.labels)
        self.templates = templates_of(self.language) if templates is None else check_templates(templates)
        self._weights = _template_weights(self.templates, BARE_SHARE if templates is None else 1 / len(self.templates))
        self.calibration = Calibration(temperature, label_smoothing)
        _require_tokens(model, self.labels)
        self._multi, self._abstain = multi, abstain
        self._index_tree()
        self.text_matrix = self.matrix = _class_matrix(model, self.labels, self.templates, self._weights, progress)
        self.background: Background | None = self._make_background() if self._limit is not None else None

    def among(self, rows: Sequence[int]) -> "Classifier":
        """Make a classifier of some of the labels, without embedding them again.

        :param rows: rows of the labels
        :return: a new classifier
        :raises InputError: if there are no rows, or a label is chosen without its parent
        """
        if not len(rows):
            raise InputError("there are no labels; give at least one")
        chosen = np.asarray(rows)
        subset = copy.copy(self)
        subset.labels = [self.labels[row] for row in rows]
        subset.text_matrix, subset.matrix = self.text_matrix[chosen], self.matrix[chosen]
        subset._index_tree()
        if self.background is not None:
            subset.background = replace(self.background, others=self.background.others[chosen])
        elif subset._limit is not None:
            subset.background = subset._make_background()
        return subset

    def _index_tree(self) -> None:
        """Index the tree of labels, and decide whether labels are independent."""
        self._parents = _parents(self.labels)
        self._children = {row: np.flatnonzero(self._parents == row) for row in {-1, *self._parents.tolist()}}
        # A softmax over a single label, or over a tree with a single root, is always 1.
        self._independent = self._multi or len(self._children[-1]) == 1
        self._limit = ABSTENTION_LIMIT if self._abstain is None and self._independent else self._abstain

    def logits(self, vectors: FloatArray) -> FloatArray:
        """Compute the logits of images.

        :param vectors: float32 (n, d), unit rows
        :return: float32 (n, labels): logit scale x cosine / temperature
        """
        return self._scaled(vectors, self.matrix)

    def probabilities(self, vectors: FloatArray) -> tuple[FloatArray, FloatArray | None]:
        """Compute the probabilities of labels.

        :param vectors: float32 (n, d), unit rows
        :return: float32 (n, labels), in a tree with descendants; and that of "none of these", float32 (n,), or None
        """
        logits, count = self.logits(vectors), len(self.labels)
        if self.background is None:
            return self._with_descendants(self.calibration.smoothed(softmax(logits), count)), None
        words = self._scaled(vectors, self.background.vectors)
        if self._independent:
            scores = self._with_descendants(
                self.calibration.smoothed(_independent_probabilities(logits, words, self.background.others), 2)
            )
            return scores, 1 - scores.max(axis=1, initial=0)
        words = words[:, self.background.others.all(axis=0)]
        probabilities = softmax(np.hstack([logits, words]))
        none = probabilities[:, count:].sum(axis=1)
        # Smoothing applies among the labels: their total probability remains the same.
        shares = self.calibration.smoothed(softmax(logits), count)
        return self._with_descendants((1 - none[:, None]) * shares), none

    def predict(self, vectors: FloatArray, top: int | None = TOP) -> list[Prediction]:
        """Classify image vectors.

        :param vectors: float32 (n, d), unit rows
        :param top: number of ranked labels; None is all
        :return: one prediction per row
        :raises InputError: if top is less than 1
        """
        if top is not None and top < 1:
            raise InputError(f"top must be 1 or more, not {top}")
        probabilities, none = self.probabilities(vectors)
        answers = self._answers(probabilities)
        order = np.argsort(-probabilities, axis=1, kind="stable")[:, :top]
        predictions = []
        for row, scores in enumerate(probabilities):
            answer: Ranked | None = self._ranked(scores, answers[row])
            holding = [answers[row]]
            if self._limit is not None and none is not None and none[row] > self._limit:
                answer, holding = None, []
            elif self._multi and self._limit is not None:
                holding = np.flatnonzero(scores >= 1 - self._limit).tolist()
            predictions.append(
                Prediction(
                    answer,
                    tuple(self._ranked(scores, label) for label in holding),
                    tuple(self._ranked(scores, label) for label in order[row].tolist()),
                    None if none is None else float(none[row]),
                )
            )
        return predictions

    def classify(self, images: Sequence[ImageInput], top: int | None = TOP) -> list[Prediction]:
        """Classify images. The first unusable image raises; ``stream`` continues past it.

        :param images: a list of paths, bytes of files, PIL images or arrays
        :param top: number of ranked labels; None is all
        :return: one prediction per image, in order
        :raises InputError: if it is no list
        :raises ImageError: if one of them cannot be used
        """
        if not isinstance(images, list | tuple):
            raise InputError(f"pictures are given as a list, not as {type(images).__name__}")
        return self.predict(self.model.encode_images(images), top)

    def stream(
        self, images: Iterable[Picture], top: int | None = TOP
    ) -> Iterator[tuple[Picture, Prediction | ImageError]]:
        """Classify a stream of images in constant memory.

        :param images: paths, bytes of files, PIL images or arrays; consumed lazily
        :param top: number of ranked labels; None is all
        :yield: in the order given, the image and its prediction or ImageError
        """
        for batch in chunks(self.model.stream_images((image, image) for image in images), PICTURE_BATCH):
            readable = [vector for _, vector in batch if not isinstance(vector, ImageError)]
            predictions = iter(self.predict(np.stack(readable), top) if readable else ())
            for image, vector in batch:
                yield image, vector if isinstance(vector, ImageError) else next(predictions)

    def _ranked(self, scores: FloatArray, row: int) -> Ranked:
        label = self.labels[row]
        return Ranked(label.name, float(scores[row]), label.path, label.key)

    def _scaled(self, vectors: FloatArray, matrix: FloatArray) -> FloatArray:
        scale = np.float32(self.model.logit_scale / self.calibration.temperature)
        scaled: FloatArray = scale * cosines_of(vectors, matrix)
        return scaled

    def _make_background(self) -> Background:
        """Embed the background vocabulary with the templates of the labels."""
        words = background_vocabulary(self.language)
        vectors = _class_matrix(self.model, as_labels(words), self.templates, self._weights, None)
        return make_background(words, vectors, [label.texts for label in self.labels], self.text_matrix)

    def _with_descendants(self, scores: FloatArray) -> FloatArray:
        """Include the scores of descendants: their sum, or with independent labels their maximum."""
        join = np.maximum if self._independent else np.add
        for child in np.flatnonzero(self._parents >= 0)[::-1]:
            parent = self._parents[child]
            scores[:, parent] = join(scores[:, parent], scores[:, child])
        return scores

    def _answers(self, scores: FloatArray) -> list[int]:
        """Find the best label of each picture: the best root, then its best child while that has more than half."""
        if len(self._children) == 1:
            return [int(label) for label in scores.argmax(axis=1)]
        answers = []
        for row in scores:
            label, candidates = -1, self._children[-1]
            while len(candidates):
                best = int(candidates[row[candidates].argmax()])
                if label >= 0 and row[best] <= MIN_CHILD_SHARE * row[label]:
                    break
                label, candidates = best, self._children.get(best, candidates[:0])
            answers.append(label)
        return answers


@overload
def classify(
    model: Model,
    images: ImageInput,
    labels: Labels,
    *,
    templates: Sequence[str] | None = ...,
    language: str | None = ...,
    temperature: float = ...,
    label_smoothing: float = ...,
    top: int | None = ...,
    multi: bool = ...,
    abstain: float | None = ...,
) -> Prediction: ...
@overload
def classify(
    model: Model,
    images: list[Any] | tuple[Any, ...],
    labels: Labels,
    *,
    templates: Sequence[str] | None = ...,
    language: str | None = ...,
    temperature: float = ...,
    label_smoothing: float = ...,
    top: int | None = ...,
    multi: bool = ...,
    abstain: float | None = ...,
) -> list[Prediction]: ...
def classify(
    model: Model,
    images: Any,
    labels: Labels,
    *,
    templates: Sequence[str] | None = None,
    language: str | None = None,
    temperature: float = 1.0,
    label_smoothing: float = 0.0,
    top: int | None = TOP,
    multi: bool = False,
    abstain: float | None = None,
) -> Prediction | list[Prediction]:
    """Classify one image or several. For many calls with the same labels create a Classifier.

    :param model: a dual encoder
    :param images: a path, bytes of a file, a PIL image or an array, or a list of these
    :param labels: as for Classifier
    :param templates: as for Classifier
    :param language: as for Classifier
    :param temperature: as for Classifier
    :param label_smoothing: as for Classifier
    :param top: number of ranked labels; None is all
    :param multi: as for Classifier
    :param abstain: as for Classifier
    :return: a prediction, or a list of predictions for a list
    :raises InputError: as Classifier
    :raises ImageError: if an image cannot be used
    """
    classifier = Classifier(
        model,
        labels,
        templates=templates,
        language=language,
        temperature=temperature,
        label_smoothing=label_smoothing,
        multi=multi,
        abstain=abstain,
    )
    if isinstance(images, list | tuple):
        return classifier.classify(images, top)
    return classifier.classify([images], top)[0]


def _independent_probabilities(logits: FloatArray, words: FloatArray, others: NDArray[np.bool_]) -> FloatArray:
    """Compute the probability of each label against the words that are no synonyms of it: float32 (n, labels)."""
    highest = words.max(axis=1, keepdims=True)
    total = np.exp(words - highest) @ others.T.astype(np.float32)
    against = np.log(np.maximum(total, np.finfo(np.float32).tiny)) + highest
    probabilities: FloatArray = (
        1 / (1 + np.exp(np.clip(against - logits, -MAX_LOGIT_DIFFERENCE, MAX_LOGIT_DIFFERENCE)))
    ).astype(np.float32)
    return probabilities


def _require_tokens(model: Model, labels: Sequence[Label]) -> None:
    """Refuse texts without a known token."""
    texts = [text for label in labels for text in label.texts]
    empty = len(model.tokenizer.encode([""])[0])
    unknown = [text for text, ids in zip(texts, model.tokenizer.encode(texts), strict=True) if len(ids) <= empty]
    if unknown:
        raise InputError(f"{model.name} has no token for the label {unknown[0]!r}; write the label in letters")


def _parents(labels: Sequence[Label]) -> NDArray[np.int64]:
    """Find the row of the parent of every label, -1 for roots."""
    rows = {label.path: row for row, label in enumerate(labels)}
    parents = []
    for row, label in enumerate(labels):
        parent = rows.get(label.above, -1) if label.above else -1
        if label.above and not 0 <= parent < row:
            raise InputError(f"{label.name!r} is below {label.above[-1]!r}, which is not a label before it")
        parents.append(parent)
    return np.array(parents, dtype=np.int64)


def _template_weights(templates: Sequence[str], first: float) -> FloatArray:
    """Compute the weights of templates: ``first`` for the first; the others share the rest evenly."""
    weights = np.full(len(templates), (1 - first) / max(1, len(templates) - 1), dtype=np.float32)
    weights[0] = first if len(templates) > 1 else 1
    return weights


def _class_matrix(
    model: Model,
    labels: Sequence[Label],
    templates: Sequence[str],
    weights: FloatArray,
    progress: ProgressCallback | None,
) -> FloatArray:
    """Embed labels in batches: the normalized weighted mean of the unit vectors of their prompts."""
    prompts = [[prompt for text in label.texts for prompt in fill(templates, text)] for label in labels]
    total = sum(map(len, prompts))
    rows = np.empty((len(labels), model.dimension), dtype=np.float32)
    done = start = 0
    while start < len(labels):
        stop, count = start, 0
        while stop < len(labels) and (stop == start or count + len(prompts[stop]) <= PROMPT_BATCH):
            count += len(prompts[stop])
            stop += 1
        vectors = model.encode_text([prompt for of_label in prompts[start:stop] for prompt in of_label])
        vectors *= np.tile(weights, len(vectors) // len(weights))[:, None]
        starts = np.cumsum([0, *(len(of_label) for of_label in prompts[start : stop - 1])])
        rows[start:stop] = np.add.reduceat(vectors, starts, axis=0)
        start, done = stop, done + count
        if progress is not None:
            progress(done, total)
    return unit_rows(rows)
