"""What a runtime is, and how one is found by name."""

import importlib
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal, Protocol, runtime_checkable

from numpy.typing import NDArray

from babelclip.errors import InputError, MissingDependencyError, ModelError
from babelclip.vectors import FloatArray

if TYPE_CHECKING:
    import onnx

RuntimePrecision = Literal["float32", "bfloat16"]
"""In what an engine does the sums of a graph; the layers of an int8 graph are in int8 whatever it is."""

MAX_GRAPH_BYTES = 2**31 - 2**20
"""The limit of protobuf, with room for the nodes."""

RUNTIMES = ("openvino", "onnxruntime", "torch", "reference")
"""``reference`` is onnx's own evaluator in numpy: slow, for tests and doubts."""


class Session(Protocol):
    """A compiled graph."""

    def run(self, inputs: Mapping[str, NDArray[Any]]) -> FloatArray:
        """Run the graph. Safe to call from several threads.

        :param inputs: an array for every input of the graph, by name
        :return: float32 (n, dimension), the caller's to keep
        """
        ...


class Runtime(Protocol):
    """An engine."""

    def capabilities(self) -> list[str]:
        """What the processor does natively, in OpenVINO's words; empty where the engine does not say."""
        ...

    def compile(self, model: "onnx.ModelProto", *, precision: RuntimePrecision, threads: int) -> Session:
        """Make a graph ready to run.

        :param model: a graph as graphs/ builds it
        :param precision: in what the sums are done
        :param threads: how many, or 0 for the engine's own choice
        :return: the compiled graph
        :raises InputError: if the engine cannot do that precision
        """
        ...


@runtime_checkable
class CachingRuntime(Runtime, Protocol):
    """An engine whose compiled graphs can be kept in files, and mapped from there by other processes."""

    def identity(self) -> str:
        """The engine's version and the processor: what a compiled graph is good for."""
        ...

    def precompile(self, graph: Path, scratch: Path, *, precision: RuntimePrecision, threads: int) -> tuple[Path, int]:
        """Compile a graph into a file.

        :param graph: an ONNX file, whose weights may be beside it
        :param scratch: an empty folder
        :param precision: in what the sums are done
        :param threads: how many, or 0 for the engine's own choice
        :return: the file, below scratch, and where in it the compiled graph begins
        :raises ModelError: if it cannot be compiled
        """
        ...

    def open_compiled(self, content: NDArray[Any], *, precision: RuntimePrecision, threads: int) -> Session:
        """Make a compiled graph ready to run, without copying it.

        :param content: uint8, writable: what ``precompile`` wrote; the session keeps it
        :param precision: as given to precompile
        :param threads: as given to precompile
        :return: the compiled graph
        :raises ModelError: if it is of no use to this engine
        """
        ...


def load_runtime(name: str) -> Runtime:
    """The engine of that name.

    :param name: one of RUNTIMES
    :return: the engine
    :raises InputError: if there is none of that name
    :raises MissingDependencyError: if its package is not installed
    """
    if name not in RUNTIMES:
        raise InputError(f"runtime {name!r} is not known; known are {', '.join(RUNTIMES)}")
    try:
        runtime: Runtime = importlib.import_module(f"babelclip.runtimes.{name}").RUNTIME
    except ModuleNotFoundError as error:
        if error.name != name:
            raise
        raise MissingDependencyError(name, extra=name) from None
    return runtime


def capabilities(name: str) -> tuple[str, ...]:
    """What the processor does natively, as far as an engine says it.

    :param name: one of RUNTIMES
    :return: words of OpenVINO, such as BF16; empty for other engines
    """
    return tuple(load_runtime(name).capabilities())


def serialized(model: "onnx.ModelProto") -> bytes:
    """The bytes of a graph.

    :param model: the graph
    :return: its bytes
    :raises ModelError: if it is over the limit of the format
    """
    size = sum(len(tensor.raw_data) for tensor in model.graph.initializer)
    if size >= MAX_GRAPH_BYTES:
        raise ModelError(f"the tower's weights are {size} bytes in float32, over the 2 GiB that one ONNX file may hold")
    return bytes(model.SerializeToString())


def require_float32(precision: RuntimePrecision, runtime: str) -> None:
    """Refuse a precision that an engine does not have.

    :param precision: what was asked for
    :param runtime: the engine's name
    :raises InputError: if it is not float32
    """
    if precision != "float32":
        raise InputError(f"runtime {runtime} runs in float32 only, not {precision}; use runtime openvino")
