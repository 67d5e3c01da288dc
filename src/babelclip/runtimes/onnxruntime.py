"""ONNX Runtime."""

from collections.abc import Mapping
from typing import Any

import onnx
import onnxruntime
from numpy.typing import NDArray

from babelclip.runtimes.base import RuntimePrecision, require_float32, serialized
from babelclip.vectors import FloatArray


class _OnnxSession:
    """An inference session; its run is safe from several threads."""

    def __init__(self, session: onnxruntime.InferenceSession) -> None:
        self._session = session

    def run(self, inputs: Mapping[str, NDArray[Any]]) -> FloatArray:
        """As Session.run."""
        vectors: FloatArray = self._session.run(["vectors"], dict(inputs))[0]
        return vectors


class _OnnxRuntime:
    """The engine."""

    def capabilities(self) -> list[str]:
        """As Runtime.capabilities."""
        return []

    def compile(self, model: onnx.ModelProto, *, precision: RuntimePrecision, threads: int) -> _OnnxSession:
        """As Runtime.compile."""
        require_float32(precision, "onnxruntime")
        options = onnxruntime.SessionOptions()
        options.intra_op_num_threads = threads
        session = onnxruntime.InferenceSession(serialized(model), options, providers=["CPUExecutionProvider"])
        return _OnnxSession(session)


RUNTIME = _OnnxRuntime()
