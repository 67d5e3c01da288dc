"""Zero-shot classification of images by text labels.

A class is the mean of the unit vectors of its prompts, of unit length again (Radford et al. 2021; open_clip does the
same), in which the bare name weighs more than a language's own templates. The logit of a picture is the model's logit
scale times the cosine, divided by a temperature. All classes are one matrix, made once, so a picture costs one row of
one matrix product.
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
from babelclip.media.images import ImageSource
from babelclip.models.model import Model
from babelclip.pipeline import chunks
from babelclip.vectors import FloatArray, cosines_of, unit_rows
from babelclip.zeroshot.calibration import MOST_DOUBT, Calibration, softmax
from babelclip.zeroshot.everyday_words import Background, background, everyday_words
from babelclip.zeroshot.label_language import language_of
from babelclip.zeroshot.labels import Label, as_labels
from babelclip.zeroshot.prediction import Prediction, Ranked
from babelclip.zeroshot.templates import check_templates, fill, templates_of

PROMPTS_AT_ONCE = 8192
BARE_SHARE = 0.75
"""Of the bare name in a class, beside the templates of its language together: with equal shares templates cost Finnish
four points of top-1 on ImageNet names, with this one no language more than one (docs/benchmarks/classification.md)."""
PICTURES_AT_ONCE = 64
TOP = 10
"""Labels that are ranked where nothing else is asked for."""
LIMIT = 0.5
"""Of abstention, where labels are judged by themselves and no limit is given."""
HALF = 0.5
"""The part of its parent's score that a label must pass to be the answer in its place."""
MOST_LOGITS = 80.0
"""Difference of logits beyond which a probability is 0 or 1 in float32."""

Source = TypeVar("Source", str, Path, bytes, Image.Image, NDArray[Any], ImageSource)
Labels = Sequence[str | Label] | Mapping[str, Any]
Progress = Callable[[int, int], None]
"""Is told how many prompts are embedded, and of how many."""


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
        doubt: float = 0.0,
        multi: bool = False,
        abstain: float | None = None,
        progress: Progress | None = None,
    ) -> None:
        """Embed the labels.

        :param model: a pair
        :param labels: names; or name -> other texts for the same class; or name -> labels below it (a tree)
        :param templates: texts with one ``{}``; None takes those of the language, ``["{}"]`` the bare names
        :param language: of the labels; None guesses it from them; one without templates has the bare names
        :param temperature: what logits are divided by; over 1 is less sure (see calibration.fit_calibration)
        :param doubt: share of the labels' probability that is spread over all of them alike, however sure the model is
        :param multi: judge every label by itself against everyday things, so that several or none may hold
        :param abstain: answer "none of these" where everyday things that no label names are together more probable
            than this; None never does, but 0.5 where there is one label, or each is judged by itself
        :param progress: is told how many prompts are embedded
        :raises InputError: if there are no labels, one is blank, unreadable or there twice, or a number is out of range
        :raises ModelError: if the model lacks the text tower
        """
        if not 0 < temperature < math.inf:
            raise InputError(f"the temperature must be over 0, not {temperature}")
        if abstain is not None and not 0 < abstain < 1:
            raise InputError(f"the limit of abstention must be between 0 and 1, not {abstain}")
        if not 0 <= doubt <= MOST_DOUBT:
            raise InputError(f"the doubt must be between 0 and {MOST_DOUBT}, not {doubt}")
        self.model = model
        self.labels = as_labels(labels)
        self.language = language.casefold().replace("_", "-") if language else language_of(self.labels)
        self.templates = templates_of(self.language) if templates is None else check_templates(templates)
        self._shares = _shares(self.templates, BARE_SHARE if templates is None else 1 / len(self.templates))
        self.calibration = Calibration(temperature, doubt)
        _require_words(model, self.labels)
        self._multi, self._abstain = multi, abstain
        self._arrange()
        self.text_matrix = self.matrix = _class_matrix(model, self.labels, self.templates, self._shares, progress)
        self.everyday: Background | None = self._everyday() if self._limit is not None else None

    def among(self, places: Sequence[int]) -> "Classifier":
        """Return a classifier of some of the labels, without embedding again.

        :param places: of the labels that stay
        :return: a classifier of its own
        :raises InputError: if there are none, or a label stays without the one above it
        """
        if not len(places):
            raise InputError("there are no labels; give at least one")
        rows = np.asarray(places)
        chosen = copy.copy(self)
        chosen.labels = [self.labels[place] for place in places]
        chosen.text_matrix, chosen.matrix = self.text_matrix[rows], self.matrix[rows]
        chosen._arrange()
        if self.everyday is not None:
            chosen.everyday = replace(self.everyday, others=self.everyday.others[rows])
        elif chosen._limit is not None:
            chosen.everyday = chosen._everyday()
        return chosen

    def _arrange(self) -> None:
        """Tell which label stands below which, and whether each is judged by itself."""
        self._parents = _parents(self.labels)
        self._below = {place: np.flatnonzero(self._parents == place) for place in {-1, *self._parents.tolist()}}
        # A softmax over one label says 1 of anything, and so does one over a tree with one root.
        self._alone = self._multi or len(self._below[-1]) == 1
        self._limit = LIMIT if self._abstain is None and self._alone else self._abstain

    def logits(self, vectors: FloatArray) -> FloatArray:
        """Compute the logits of images.

        :param vectors: float32 (n, d), unit rows
        :return: float32 (n, labels): logit scale x cosine / temperature
        """
        return self._scaled(vectors, self.matrix)

    def probabilities(self, vectors: FloatArray) -> tuple[FloatArray, FloatArray | None]:
        """Compute the probabilities of labels.

        :param vectors: float32 (n, d), unit rows
        :return: float32 (n, labels), in a tree with all below; and that of "none of these", float32 (n,), or None
        """
        logits, count = self.logits(vectors), len(self.labels)
        if self.everyday is None:
            return self._with_below(self.calibration.doubted(softmax(logits), count)), None
        things = self._scaled(vectors, self.everyday.vectors)
        if self._alone:
            found = self._with_below(self.calibration.doubted(_against(logits, things, self.everyday.others), 2))
            return found, 1 - found.max(axis=1, initial=0)
        things = things[:, self.everyday.others.all(axis=0)]
        everything = softmax(np.hstack([logits, things]))
        none = everything[:, count:].sum(axis=1)
        # What is doubted is which label it is: the labels together keep what they have against everything else.
        shares = self.calibration.doubted(softmax(logits), count)
        return self._with_below((1 - none[:, None]) * shares), none

    def predict(self, vectors: FloatArray, top: int | None = TOP) -> list[Prediction]:
        """Classify image vectors.

        :param vectors: float32 (n, d), unit rows
        :param top: number of ranked labels; None is all
        :return: one prediction per row
        :raises InputError: if top is less than 1
        """
        if top is not None and top < 1:
            raise InputError(f"top must be 1 or more, not {top}")
        found, none = self.probabilities(vectors)
        answers = self._answers(found)
        order = np.argsort(-found, axis=1, kind="stable")[:, :top]
        predictions = []
        for row, scores in enumerate(found):
            answer: Ranked | None = self._ranked(scores, answers[row])
            holding = [answers[row]]
            if self._limit is not None and none is not None and none[row] > self._limit:
                answer, holding = None, []
            elif self._multi and self._limit is not None:
                holding = np.flatnonzero(scores >= 1 - self._limit).tolist()
            predictions.append(
                Prediction(
                    answer,
                    tuple(self._ranked(scores, place) for place in holding),
                    tuple(self._ranked(scores, place) for place in order[row].tolist()),
                    None if none is None else float(none[row]),
                )
            )
        return predictions

    def classify(self, images: Sequence[ImageSource], top: int | None = TOP) -> list[Prediction]:
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
        self, images: Iterable[Source], top: int | None = TOP
    ) -> Iterator[tuple[Source, Prediction | ImageError]]:
        """Classify a stream of images in constant memory.

        :param images: paths, bytes of files, PIL images or arrays; consumed lazily
        :param top: number of ranked labels; None is all
        :yield: in the order given, the image and its prediction or ImageError
        """
        for batch in chunks(self.model.stream_images((image, image) for image in images), PICTURES_AT_ONCE):
            good = [vector for _, vector in batch if not isinstance(vector, ImageError)]
            found = iter(self.predict(np.stack(good), top) if good else ())
            for image, vector in batch:
                yield image, vector if isinstance(vector, ImageError) else next(found)

    def _ranked(self, scores: FloatArray, place: int) -> Ranked:
        label = self.labels[place]
        return Ranked(label.name, float(scores[place]), label.path, label.key)

    def _scaled(self, vectors: FloatArray, matrix: FloatArray) -> FloatArray:
        scale = np.float32(self.model.logit_scale / self.calibration.temperature)
        scaled: FloatArray = scale * cosines_of(vectors, matrix)
        return scaled

    def _everyday(self) -> Background:
        """Everyday things, told by the same templates as the labels."""
        words = everyday_words(self.language)
        vectors = _class_matrix(self.model, as_labels(words), self.templates, self._shares, None)
        return background(words, vectors, [label.texts for label in self.labels], self.text_matrix)

    def _with_below(self, found: FloatArray) -> FloatArray:
        """In a tree: a label's probability with that of all below it; by itself each, the highest of them."""
        join = np.maximum if self._alone else np.add
        for child in np.flatnonzero(self._parents >= 0)[::-1]:
            parent = self._parents[child]
            found[:, parent] = join(found[:, parent], found[:, child])
        return found

    def _answers(self, found: FloatArray) -> list[int]:
        """The labels that pictures show: the best at the top, then down while one below has more than half."""
        if len(self._below) == 1:
            return [int(place) for place in found.argmax(axis=1)]
        answers = []
        for row in found:
            place, candidates = -1, self._below[-1]
            while len(candidates):
                best = int(candidates[row[candidates].argmax()])
                if place >= 0 and row[best] <= HALF * row[place]:
                    break
                place, candidates = best, self._below.get(best, candidates[:0])
            answers.append(place)
        return answers


@overload
def classify(
    model: Model,
    images: ImageSource,
    labels: Labels,
    *,
    templates: Sequence[str] | None = ...,
    language: str | None = ...,
    temperature: float = ...,
    doubt: float = ...,
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
    doubt: float = ...,
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
    doubt: float = 0.0,
    top: int | None = TOP,
    multi: bool = False,
    abstain: float | None = None,
) -> Prediction | list[Prediction]:
    """Classify one image or several. For many calls with the same labels create a Classifier.

    :param model: a pair
    :param images: a path, bytes of a file, a PIL image or an array, or a list of these
    :param labels: as for Classifier
    :param templates: as for Classifier
    :param language: as for Classifier
    :param temperature: as for Classifier
    :param doubt: as for Classifier
    :param top: number of ranked labels; None is all
    :param multi: as for Classifier
    :param abstain: as for Classifier
    :return: a prediction; a list of them for a list
    :raises InputError: as Classifier
    :raises ImageError: if an image cannot be used
    """
    classifier = Classifier(
        model,
        labels,
        templates=templates,
        language=language,
        temperature=temperature,
        doubt=doubt,
        multi=multi,
        abstain=abstain,
    )
    if isinstance(images, list | tuple):
        return classifier.classify(images, top)
    return classifier.classify([images], top)[0]


def _against(logits: FloatArray, things: FloatArray, others: NDArray[np.bool_]) -> FloatArray:
    """The probability of each label by itself against the everyday things that it is not: float32 (n, labels)."""
    highest = things.max(axis=1, keepdims=True)
    total = np.exp(things - highest) @ others.T.astype(np.float32)
    against = np.log(np.maximum(total, np.finfo(np.float32).tiny)) + highest
    found: FloatArray = (1 / (1 + np.exp(np.clip(against - logits, -MOST_LOGITS, MOST_LOGITS)))).astype(np.float32)
    return found


def _require_words(model: Model, labels: Sequence[Label]) -> None:
    """Refuse texts of which the tokenizer leaves nothing."""
    texts = [text for label in labels for text in label.texts]
    empty = len(model.tokenizer.encode([""])[0])
    nothing = [text for text, ids in zip(texts, model.tokenizer.encode(texts), strict=True) if len(ids) <= empty]
    if nothing:
        raise InputError(f"{model.name} reads nothing in the label {nothing[0]!r}; write it in letters")


def _parents(labels: Sequence[Label]) -> NDArray[np.int64]:
    """The place of every label's parent, -1 at the top."""
    places = {label.path: place for place, label in enumerate(labels)}
    parents = []
    for place, label in enumerate(labels):
        parent = places.get(label.above, -1) if label.above else -1
        if label.above and not 0 <= parent < place:
            raise InputError(f"{label.name!r} stands below {label.above[-1]!r}, which is no label before it")
        parents.append(parent)
    return np.array(parents, dtype=np.int64)


def _shares(templates: Sequence[str], first: float) -> FloatArray:
    """What each template weighs: the first so much, the others the rest together."""
    rest = np.full(len(templates), (1 - first) / max(1, len(templates) - 1), dtype=np.float32)
    rest[0] = first if len(templates) > 1 else 1
    return rest


def _class_matrix(
    model: Model, labels: Sequence[Label], templates: Sequence[str], shares: FloatArray, progress: Progress | None
) -> FloatArray:
    """A unit row a label: the weighed mean of the unit vectors of its prompts, so many labels at a time."""
    prompts = [[prompt for text in label.texts for prompt in fill(templates, text)] for label in labels]
    total = sum(map(len, prompts))
    rows = np.empty((len(labels), model.dimension), dtype=np.float32)
    done = start = 0
    while start < len(labels):
        stop, count = start, 0
        while stop < len(labels) and (stop == start or count + len(prompts[stop]) <= PROMPTS_AT_ONCE):
            count += len(prompts[stop])
            stop += 1
        vectors = model.encode_text([prompt for own in prompts[start:stop] for prompt in own])
        vectors *= np.tile(shares, len(vectors) // len(shares))[:, None]
        places = np.cumsum([0, *(len(own) for own in prompts[start : stop - 1])])
        rows[start:stop] = np.add.reduceat(vectors, places, axis=0)
        start, done = stop, done + count
        if progress is not None:
            progress(done, total)
    return unit_rows(rows)
