"""ONNX's own evaluator in numpy: the definition of the operators, slow, with nothing to install."""

from collections.abc import Mapping
from typing import Any

import numpy as np
import onnx
from numpy.typing import NDArray
from onnx.reference import ReferenceEvaluator

from babelclip.runtimes.base import RuntimePrecision, require_float32
from babelclip.vectors import FloatArray


class _ReferenceSession:
    """An evaluator."""

    def __init__(self, evaluator: ReferenceEvaluator) -> None:
        self._evaluator = evaluator

    def run(self, inputs: Mapping[str, NDArray[Any]]) -> FloatArray:
        """As Session.run."""
        return np.asarray(self._evaluator.run(["vectors"], dict(inputs))[0], dtype=np.float32)


class _Reference:
    """The engine."""

    def capabilities(self) -> list[str]:
        """As Runtime.capabilities."""
        return []

    def compile(self, model: onnx.ModelProto, *, precision: RuntimePrecision, threads: int) -> _ReferenceSession:
        """As Runtime.compile."""
        require_float32(precision, "reference")
        return _ReferenceSession(ReferenceEvaluator(model))


RUNTIME = _Reference()
