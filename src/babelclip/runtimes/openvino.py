"""OpenVINO: the default engine, the fastest on x86 and Arm CPUs."""

import importlib
import sys
import threading
from collections.abc import Mapping
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from babelclip.errors import ModelError
from babelclip.runtimes.base import RuntimePrecision, serialized
from babelclip.settings import bound_onednn
from babelclip.vectors import FloatArray

if TYPE_CHECKING:
    import onnx
    import openvino

_CONVERTER = "openvino.tools.ovc"


def _import_openvino() -> Any:
    """OpenVINO without its model converter, whose import is slow and is reported to a statistics server. Who asks for
    ``openvino.convert_model`` gets the converter then.
    """
    if "openvino" in sys.modules or _CONVERTER in sys.modules:
        return importlib.import_module("openvino")

    def converter(name: str) -> Any:
        if name == "convert_model":
            return importlib.import_module(_CONVERTER).convert_model
        raise AttributeError(f"module 'openvino' has no attribute {name!r}")

    blocked: dict[str, Any] = sys.modules
    blocked[_CONVERTER] = None
    try:
        module = importlib.import_module("openvino")
    finally:
        del sys.modules[_CONVERTER]
    if not hasattr(module, "convert_model"):
        vars(module)["__getattr__"] = converter
    return module


if not TYPE_CHECKING:
    openvino = _import_openvino()

PRIMITIVES_KEPT = 128
"""Steps made ready for shapes of input that the engine keeps of each kind; those used longest ago go first, and a shape
takes about ten. It would keep 5,000, and oneDNN below it 1,024: 5 MiB for every new shape of texts, for long.
"""
_HINTS = {"float32": "f32", "bfloat16": "bf16"}
_HEADER, _MAX_HEADER_BYTES = b"<?xml", 2**16
"""The line that the engine's cache sets before a compiled graph."""


class _OpenVinoSession:
    """A compiled model with one infer request a thread: a request holds its buffers and serves one call at a time."""

    def __init__(self, compiled: openvino.CompiledModel, content: openvino.Tensor | None = None) -> None:
        self._compiled = compiled
        self._content = content
        self._local = threading.local()

    def run(self, inputs: Mapping[str, NDArray[Any]]) -> FloatArray:
        """As Session.run."""
        request = getattr(self._local, "request", None)
        if request is None:
            request = self._local.request = self._compiled.create_infer_request()
        tensors = {name: openvino.Tensor(np.ascontiguousarray(a), shared_memory=True) for name, a in inputs.items()}
        request.set_tensors(tensors)
        # What ``infer`` does around this takes a query 0.1 ms.
        request.start_async()
        request.wait()
        return np.array(request.get_output_tensor(0).data, dtype=np.float32)


class _OpenVino:
    """The engine; its core is made at the first compilation."""

    @cached_property
    def _core(self) -> openvino.Core:
        bound_onednn(PRIMITIVES_KEPT)
        return openvino.Core()

    def capabilities(self) -> list[str]:
        """What the processor does natively, in OpenVINO's words: FP32, BF16, INT8 and so on."""
        return list(self._core.get_property("CPU", "OPTIMIZATION_CAPABILITIES"))

    def compile(self, model: "onnx.ModelProto", *, precision: RuntimePrecision, threads: int) -> _OpenVinoSession:
        """As Runtime.compile."""
        return self._compile(serialized(model), precision, threads)

    def open(self, path: Path, *, precision: RuntimePrecision = "float32", threads: int = 0) -> _OpenVinoSession:
        """As compile, of a graph that ``save`` wrote."""
        return self._compile(path, precision, threads)

    def save(self, model: "onnx.ModelProto", path: Path) -> None:
        """Write a graph in OpenVINO's own form: PATH (.xml), and its float32 weights beside it (.bin)."""
        openvino.save_model(self._core.read_model(serialized(model)), path, compress_to_fp16=False)

    def identity(self) -> str:
        """As CachingRuntime.identity."""
        processor = self._core.get_property("CPU", "FULL_DEVICE_NAME")
        return f"openvino {openvino.get_version()}, {processor}, {' '.join(sorted(self.capabilities()))}"

    def precompile(self, graph: Path, scratch: Path, *, precision: RuntimePrecision, threads: int) -> tuple[Path, int]:
        """As CachingRuntime.precompile; the engine's own cache writes the file, since export_model copies it thrice."""
        config = {**_config(precision, threads), "CACHE_DIR": str(scratch)}
        try:
            self._core.compile_model(graph, "CPU", config)
        except RuntimeError as error:
            raise ModelError(f"OpenVINO cannot compile the graph: {error}") from None
        written = next(scratch.glob("*.blob"), None)
        if written is None:
            raise ModelError("OpenVINO wrote no compiled graph")
        with written.open("rb") as file:
            line = file.readline(_MAX_HEADER_BYTES)
        return written, len(line) if line.startswith(_HEADER) else 0

    def open_compiled(self, content: NDArray[Any], *, precision: RuntimePrecision, threads: int) -> _OpenVinoSession:
        """As CachingRuntime.open_compiled."""
        tensor = openvino.Tensor(content, shared_memory=True)
        try:
            return _OpenVinoSession(self._core.import_model(tensor, "CPU", _config(precision, threads)), tensor)
        except RuntimeError as error:
            raise ModelError(f"OpenVINO cannot open the compiled graph: {error}") from None

    def _compile(self, source: bytes | Path, precision: RuntimePrecision, threads: int) -> _OpenVinoSession:
        try:
            compiled = self._core.compile_model(self._core.read_model(source), "CPU", _config(precision, threads))
            return _OpenVinoSession(compiled)
        except RuntimeError as error:
            raise ModelError(f"OpenVINO cannot compile the graph: {error}") from None


def _config(precision: RuntimePrecision, threads: int) -> dict[str, str | int]:
    """The engine's settings."""
    config: dict[str, str | int] = {
        # Left alone, OpenVINO takes bfloat16 wherever the processor has it.
        "INFERENCE_PRECISION_HINT": _HINTS[precision],
        "PERFORMANCE_HINT": "LATENCY",
        "CPU_RUNTIME_CACHE_CAPACITY": PRIMITIVES_KEPT,
    }
    if threads:
        config["INFERENCE_NUM_THREADS"] = threads
    return config


RUNTIME = _OpenVino()
