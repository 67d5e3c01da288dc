"""Zero-shot classifiers: built through the inference queue, and cached by their labels and options."""

import asyncio
from collections.abc import Mapping, Sequence
from typing import Any, cast

import orjson

from babelclip.errors import InputError
from babelclip.media.images import Pixels
from babelclip.models.model import Model
from babelclip.service.inference.worker import InferenceWorker, Texts
from babelclip.service.schemas.requests import MAX_LABELS
from babelclip.vectors import FloatArray, unit_rows
from babelclip.zeroshot import Classifier, Prediction
from babelclip.zeroshot.labels import as_labels

MAX_CLASSIFIERS = 16
"""Number of cached classifiers."""

Labels = Sequence[str] | Mapping[str, Any]


class ClassifierCache:
    """The most recently used classifiers."""

    def __init__(self) -> None:
        """Create an empty cache."""
        self._cache: dict[bytes, Classifier] = {}

    async def predict(
        self,
        worker: InferenceWorker,
        owner: str,
        pixels: Sequence[Pixels],
        labels: Labels,
        options: Mapping[str, Any],
        *,
        top: int | None,
    ) -> tuple[Classifier, list[Prediction]]:
        """Classify images by labels.

        :param worker: the worker of the model
        :param owner: id of the API key
        :param pixels: images from ``worker.read_image``
        :param labels: labels as Classifier takes them
        :param options: options of Classifier, by name
        :param top: number of ranked labels; None ranks all
        :return: the classifier, and one prediction per image
        """
        classifier = await self._classifier(worker, owner, labels, options)
        vectors = unit_rows(await worker.encode_images(owner, pixels))
        return classifier, classifier.predict(vectors, top)

    async def _classifier(
        self, worker: InferenceWorker, owner: str, labels: Labels, options: Mapping[str, Any]
    ) -> Classifier:
        """A cached classifier, or a new one, built in a thread whose texts go through the queue."""
        key = orjson.dumps([worker.name, labels, dict(options)])
        classifier = self._cache.pop(key, None)
        if classifier is None:
            queued = cast("Model", _QueuedModel(worker, owner, asyncio.get_running_loop()))
            given = {name: value for name, value in options.items() if value is not None}
            classifier = await asyncio.to_thread(Classifier, queued, labels, **given)
        self._cache[key] = classifier
        while len(self._cache) > MAX_CLASSIFIERS:
            del self._cache[next(iter(self._cache))]
        return classifier


async def read_labels(worker: InferenceWorker, labels: Labels) -> Texts:
    """Tokenize the texts of labels, which are charged whether or not their classifier is cached; templates are free.

    :param worker: the worker of the model
    :param labels: labels as Classifier takes them
    :return: the tokenized texts
    :raises InputError: if the labels are invalid or too many
    """
    read = as_labels(labels)
    if len(read) > MAX_LABELS:
        raise InputError(f"the request has {len(read)} labels, over the limit of {MAX_LABELS}")
    return await worker.read_texts([text for label in read for text in label.texts], truncate=False)


class _QueuedModel:
    """A model whose texts are encoded through the inference queue; other attributes are the model's."""

    def __init__(self, worker: InferenceWorker, owner: str, loop: asyncio.AbstractEventLoop) -> None:
        self._worker = worker
        self._owner = owner
        self._loop = loop

    def __getattr__(self, name: str) -> Any:
        return getattr(self._worker.model, name)

    def encode_text(self, texts: Sequence[str]) -> FloatArray:
        """Vectors of texts: float32 (n, d), unit rows."""
        ids = self._worker.model.tokenizer.encode(texts)
        waiting = asyncio.run_coroutine_threadsafe(self._worker.encode_texts(self._owner, ids), self._loop)
        return unit_rows(waiting.result())
