"""PyTorch: runs our graphs node by node, on the CPU or on the GPU where there is one.

It knows the operators that graphs/ writes and no others.
"""

from collections.abc import Callable, Mapping
from typing import Any

import numpy as np
import onnx
import torch
import torch.nn.functional as F
from numpy.typing import NDArray
from onnx import numpy_helper
from torch import Tensor

from babelclip.errors import ModelError
from babelclip.runtimes.base import RuntimePrecision, require_float32
from babelclip.vectors import FloatArray

_CASTS = {
    onnx.TensorProto.FLOAT: torch.float32,
    onnx.TensorProto.INT32: torch.int32,
    onnx.TensorProto.INT64: torch.int64,
}

Attributes = dict[str, Any]


def _numbers(x: Tensor) -> list[int]:
    """A small whole-number tensor as a list."""
    return [int(value) for value in x.reshape(-1).tolist()]


def _reshape(a: Attributes, x: Tensor, shape: Tensor) -> Tensor:
    """Reshape, where 0 keeps a size."""
    return x.reshape([x.shape[i] if size == 0 else size for i, size in enumerate(_numbers(shape))])


def _slice(a: Attributes, x: Tensor, starts: Tensor, ends: Tensor, axes: Tensor) -> Tensor:
    """Slice with steps of one."""
    for start, end, axis in zip(_numbers(starts), _numbers(ends), _numbers(axes), strict=True):
        x = x.narrow(axis, start, min(end, x.shape[axis]) - start)
    return x


def _gather(a: Attributes, x: Tensor, index: Tensor) -> Tensor:
    """Rows of a table by index, along one axis."""
    axis = a.get("axis", 0)
    if axis == 0 and x.ndim == 2:
        return F.embedding(index, x)
    picked = x.index_select(axis, index.reshape(-1))
    return picked.squeeze(axis) if index.ndim == 0 else picked


def _pad(a: Attributes, x: Tensor, pads: Tensor) -> Tensor:
    """Zeros before and after every axis; torch counts the axes from the last."""
    sizes = _numbers(pads)
    before, after = sizes[: x.ndim], sizes[x.ndim :]
    return F.pad(x, [size for pair in zip(before[::-1], after[::-1], strict=True) for size in pair])


def _unsqueeze(a: Attributes, x: Tensor, axes: Tensor) -> Tensor:
    """New axes of size one."""
    for axis in sorted(_numbers(axes)):
        x = x.unsqueeze(axis)
    return x


def _conv(a: Attributes, x: Tensor, weight: Tensor, bias: Tensor | None = None) -> Tensor:
    """A convolution with any padding of zeros."""
    top, left, bottom, right = a.get("pads", [0, 0, 0, 0])
    return F.conv2d(
        F.pad(x, [left, right, top, bottom]), weight, bias, stride=a.get("strides", 1), groups=a.get("group", 1)
    )


_OPERATORS: dict[str, Callable[..., Tensor]] = {
    "Add": lambda a, x, y: x + y,
    "ArgMax": lambda a, x: x.argmax(a["axis"], keepdim=bool(a["keepdims"])),
    "Cast": lambda a, x: x.to(_CASTS[a["to"]]),
    "Clip": lambda a, x, low, high: x.clamp(low, high),
    "Concat": lambda a, *xs: torch.cat(xs, a["axis"]),
    "Conv": _conv,
    "Div": lambda a, x, y: x / y,
    "Equal": lambda a, x, y: x == y,
    "Erf": lambda a, x: torch.erf(x),
    "Gather": _gather,
    "Identity": lambda a, x: x,
    "LayerNormalization": lambda a, x, w, b: F.layer_norm(x, x.shape[-1:], w, b, a["epsilon"]),
    "MatMul": lambda a, x, y: x @ y,
    "Max": lambda a, x, y: torch.maximum(x, y),
    "Mul": lambda a, x, y: x * y,
    "Pad": _pad,
    "ReduceL2": lambda a, x: x.norm(dim=a["axes"], keepdim=bool(a["keepdims"])),
    "ReduceMax": lambda a, x: x.amax(a["axes"], keepdim=bool(a["keepdims"])),
    "ReduceMean": lambda a, x: x.mean(a["axes"], keepdim=bool(a["keepdims"])),
    "ReduceSum": lambda a, x, axes: x.sum(_numbers(axes), keepdim=bool(a["keepdims"])),
    "Relu": lambda a, x: x.relu(),
    "Reshape": _reshape,
    "Shape": lambda a, x: torch.tensor(x.shape),
    "Sigmoid": lambda a, x: x.sigmoid(),
    "Slice": _slice,
    "Softmax": lambda a, x: x.softmax(a["axis"]),
    "Squeeze": lambda a, x, axes: x.squeeze(_numbers(axes)),
    "Sub": lambda a, x, y: x - y,
    "Tanh": lambda a, x: x.tanh(),
    "Transpose": lambda a, x: x.permute(a["perm"]),
    "Unsqueeze": _unsqueeze,
}


class _TorchSession:
    """The nodes in order, and the constants as tensors; nothing is kept between calls, so threads may share it."""

    def __init__(self, model: onnx.ModelProto, device: torch.device) -> None:
        unknown = {node.op_type for node in model.graph.node} - _OPERATORS.keys()
        if unknown:
            raise ModelError(f"the torch runtime does not know the operators {', '.join(sorted(unknown))}")
        self._device = device
        self._constants = {
            tensor.name: torch.from_numpy(numpy_helper.to_array(tensor).copy()).to(device)
            for tensor in model.graph.initializer
        }
        self._nodes = [
            (
                _OPERATORS[node.op_type],
                {attribute.name: onnx.helper.get_attribute_value(attribute) for attribute in node.attribute},
                list(node.input),
                node.output[0],
            )
            for node in model.graph.node
        ]

    @torch.inference_mode()
    def run(self, inputs: Mapping[str, NDArray[Any]]) -> FloatArray:
        """As Session.run."""
        values = dict(self._constants)
        for name, array in inputs.items():
            values[name] = torch.from_numpy(np.ascontiguousarray(array)).to(self._device)
        for operator, attributes, names, output in self._nodes:
            values[output] = operator(attributes, *(values[name] for name in names))
        vectors: FloatArray = values["vectors"].cpu().numpy()
        return vectors


class _Torch:
    """The engine."""

    def capabilities(self) -> list[str]:
        """As Runtime.capabilities."""
        return []

    def compile(self, model: onnx.ModelProto, *, precision: RuntimePrecision, threads: int) -> _TorchSession:
        """As Runtime.compile; torch's thread count belongs to the process, so it is set only when asked for."""
        require_float32(precision, "torch")
        if threads:
            torch.set_num_threads(threads)
        return _TorchSession(model, torch.device("cuda" if torch.cuda.is_available() else "cpu"))


RUNTIME = _Torch()
