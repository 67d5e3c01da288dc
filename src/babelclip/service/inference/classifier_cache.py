"""Labels as matrices: made once, through the queue, and kept for the next request with the same labels."""

import asyncio
from collections.abc import Mapping, Sequence
from typing import Any, cast

import orjson

from babelclip.models.model import Model
from babelclip.service.inference.worker import Engine
from babelclip.vectors import FloatArray, unit_rows
from babelclip.zeroshot import Classifier

CLASSIFIERS = 16
"""Sets of labels whose vectors are kept."""


class Classifiers:
    """Labels as matrices, the last few that were asked for."""

    def __init__(self) -> None:
        """Begin with none."""
        self._kept: dict[bytes, Classifier] = {}

    async def get(
        self, engine: Engine, owner: str, labels: Sequence[str] | Mapping[str, Any], options: Mapping[str, Any]
    ) -> Classifier:
        """The classifier of labels; made in a thread whose texts wait in the queue like others.

        :param engine: the model
        :param owner: the key
        :param labels: as Classifier takes them
        :param options: of Classifier, by name
        :return: the classifier
        """
        name = orjson.dumps([engine.name, labels, dict(options)])
        kept = self._kept.pop(name, None)
        if kept is None:
            queued = cast("Model", _QueuedModel(engine, owner, asyncio.get_running_loop()))
            kept = await asyncio.to_thread(Classifier, queued, labels, **_chosen(options))
        self._kept[name] = kept
        while len(self._kept) > CLASSIFIERS:
            del self._kept[next(iter(self._kept))]
        return kept


class _QueuedModel:
    """A model whose texts wait in the service's queue; in all else the model itself."""

    def __init__(self, engine: Engine, owner: str, loop: asyncio.AbstractEventLoop) -> None:
        self._engine = engine
        self._owner = owner
        self._loop = loop

    def __getattr__(self, name: str) -> Any:
        return getattr(self._engine.model, name)

    def encode_text(self, texts: Sequence[str]) -> FloatArray:
        """Vectors of texts: float32 (n, d), unit rows."""
        ids = self._engine.model.tokenizer.encode(texts)
        waiting = asyncio.run_coroutine_threadsafe(self._engine.encode_texts(self._owner, ids), self._loop)
        return unit_rows(waiting.result())


def _chosen(options: Mapping[str, Any]) -> dict[str, Any]:
    """The options that were given."""
    return {name: value for name, value in options.items() if value is not None}
