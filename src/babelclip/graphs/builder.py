"""A small writer of ONNX graphs: values are names, every call appends a node and returns the name of its output."""

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import onnx
from numpy.typing import NDArray
from onnx import TensorProto, helper

from babelclip.checkpoints.weights import Weights, compact_rows
from babelclip.errors import WeightsError
from babelclip.graphs.quantization import ActivationRanges, LayerInput
from babelclip.vectors import FloatArray

OBSERVED = "layers"
"""The property of a graph that observes."""

UINT8_STEPS = 255
SMALLEST_RANGE = 1e-8
"""Of an input that is always 0; any number would do."""

SPILLED_MIN_BYTES = 1024
SPILL_ALIGNMENT = 4096
"""A page, so that an engine can map a constant as it is."""

OPSET = 17
"""The first with LayerNormalization as one operator."""

IR_VERSION = 8
"""The one that came with this opset, so that older runtimes read what newer onnx packages write."""


class GraphBuilder:
    """Collects nodes and constants, then gives the model.

    With a calibration, the layers that it names read uint8 and have int8 weights. A graph that observes gives what a
    calibration is made of instead of vectors.
    """

    def __init__(
        self, calibration: ActivationRanges | None = None, *, observe: bool = False, spill: Path | None = None
    ) -> None:
        """Start an empty graph.

        :param calibration: the layers to run in int8
        :param observe: collect the range of every channel of every layer's input
        :param spill: a file for the large constants, as ONNX's external data; without it they are in the graph, which
            then is in memory several times on its way into an engine, and may have no more than 2 GiB
        """
        if spill is not None:
            spill.write_bytes(b"")
        self._spill = spill
        self._calibration = calibration or {}
        self._observe = observe
        self._observed: list[tuple[str, str, int, bool]] = []
        self._observations: list[str] = []
        self._quantized: dict[tuple[str, float, float, bytes], str] = {}
        # Everything is added in place: a protobuf message is copied whenever it is put into another one, and the
        # constants are the weights.
        self._model = onnx.ModelProto(ir_version=IR_VERSION, producer_name="babelclip")
        self._model.opset_import.append(helper.make_opsetid("", OPSET))
        self._graph = self._model.graph

    def input(self, name: str, dtype: int, shape: Sequence[str | int]) -> str:
        """Declare an input.

        :param name: its name
        :param dtype: an element type of onnx.TensorProto
        :param shape: a number, or a name where the size is free
        :return: the name
        """
        self._graph.input.append(helper.make_tensor_value_info(name, dtype, list(shape)))
        return name

    def constant(self, array: NDArray[Any], name: str = "") -> str:
        """Put an array into the graph, in the type it has.

        :param array: the numbers
        :param name: a name for people who look into the graph
        :return: the name of the value
        """
        name = f"{name or 'constant'}:{len(self._graph.initializer)}"
        tensor = self._graph.initializer.add(
            name=name, data_type=helper.np_dtype_to_tensor_dtype(array.dtype), dims=array.shape
        )
        array = np.ascontiguousarray(array.astype(array.dtype.newbyteorder("<"), copy=False))
        if self._spill is None or array.nbytes < SPILLED_MIN_BYTES:
            tensor.raw_data = array.tobytes()
            return name
        with self._spill.open("ab") as file:
            file.write(bytes(-file.tell() % SPILL_ALIGNMENT))
            place = {"location": self._spill.name, "offset": file.tell(), "length": array.nbytes}
            array.tofile(file)
        tensor.data_location = TensorProto.EXTERNAL
        for key, value in place.items():
            tensor.external_data.add(key=key, value=str(value))
        return name

    def integers(self, *values: int) -> str:
        """An int64 vector.

        :param *values: its numbers
        :return: the name of the value
        """
        return self.constant(np.array(values, dtype=np.int64))

    def scalar(self, value: float) -> str:
        """A float32 number.

        :param value: the number
        :return: the name of the value
        """
        return self.constant(np.array(value, dtype=np.float32))

    def node(self, operator: str, *inputs: str, **attributes: Any) -> str:
        """Append a node with one output.

        :param operator: an operator of the standard set
        :param *inputs: names of values
        :param **attributes: the operator's attributes
        :return: the name of its output
        """
        name = f"{operator}:{len(self._graph.node)}"
        self._graph.node.append(helper.make_node(operator, list(inputs), [name], name=name, **attributes))
        return name

    def layer_input(self, x: str, name: str, channels: int, *, convolution: bool = False) -> str:
        """The input of a layer as the layer reads it: as it is, or rounded to uint8.

        :param x: float32, (..., channels) for a matrix, (n, channels, height, width) for a convolution
        :param name: the layer
        :param channels: how many it reads
        :param convolution: whether it is one
        :return: float32, the same shape
        """
        if self._observe:
            self._observe_input(x, name, channels, convolution=convolution)
        own = self._calibration.get(name)
        if own is None:
            return x
        key = x, own.low, own.high, b"" if own.smooth is None else own.smooth.tobytes()
        if key not in self._quantized:
            if own.smooth is not None:
                x = self.node("Mul", x, self.constant(1 / own.smooth))
            scale = max(own.high - own.low, SMALLEST_RANGE) / UINT8_STEPS
            zero = np.array(round(-own.low / scale), dtype=np.uint8)
            parameters = self.scalar(scale), self.constant(zero)
            rounded = self.node("QuantizeLinear", x, *parameters)
            self._quantized[key] = self.node("DequantizeLinear", rounded, *parameters)
        return self._quantized[key]

    def byte_input(self, x: str, name: str, channels: int) -> str:
        """The input of a layer that reads bytes: they are its numbers, so there is nothing to round.

        :param x: uint8 (..., channels)
        :param name: the layer
        :param channels: how many it reads
        :return: float32, the same shape
        """
        if name in self._calibration:
            return self.node("DequantizeLinear", x, self.scalar(1.0), self.constant(np.array(0, dtype=np.uint8)))
        x = self.node("Cast", x, to=TensorProto.FLOAT)
        if self._observe:
            self._observe_input(x, name, channels, smoothed=False)
        return x

    def _observe_input(
        self, x: str, name: str, channels: int, *, convolution: bool = False, smoothed: bool = True
    ) -> None:
        """Collect the lowest, the highest and the mean value of every channel."""
        flat = x if convolution else self.node("Reshape", x, self.integers(-1, channels))
        axes = [0, 2, 3] if convolution else [0]
        figures = ("ReduceMin", "ReduceMax", "ReduceMean")
        self._observations += [self.node(figure, flat, axes=axes, keepdims=0) for figure in figures]
        self._observed.append((name, x, channels, smoothed and not convolution))

    def layer_weight(self, weight: FloatArray, name: str, *, transposed: bool = False) -> str:
        """The weight of a layer, in int8 where the layer runs in int8.

        :param weight: float32 (outputs, inputs, ...), as torch has it
        :param name: the layer
        :param transposed: give a matrix as (inputs, outputs)
        :return: float32, the same shape, or transposed
        """
        if self._observe and transposed and self._observed[-1][3]:
            self._observations.append(self.constant(np.abs(weight).max(axis=0)))
        own = self._calibration.get(name)
        if own is None:
            return self.constant(weight.T if transposed else weight, name)
        rows, scales = _compact(weight, own, name)
        zeros = np.zeros(len(scales), dtype=np.int8)
        return self.node(
            "DequantizeLinear",
            self.constant(np.ascontiguousarray(rows.T) if transposed else rows, name),
            self.constant(scales),
            self.constant(zeros),
            axis=1 if transposed else 0,
        )

    def layer_bias(self, bias: FloatArray, weight: FloatArray, name: str) -> str:
        """The bias of a layer; in int8 less what the rounding of the weight does to the mean output.

        :param bias: float32 (outputs,)
        :param weight: float32 (outputs, inputs, ...), or (outputs, 1, ...) of a depthwise convolution
        :param name: the layer
        :return: float32 (outputs,)
        """
        own = self._calibration.get(name)
        if own is not None:
            rows, scales = _compact(weight, own, name)
            rounded = rows.astype(np.float32) * scales.reshape(-1, *[1] * (weight.ndim - 1))
            lost = weight - (rounded if own.smooth is None else rounded / own.smooth)
            lost = lost.reshape(*lost.shape[:2], -1).sum(axis=2)
            depthwise = lost.shape[1] == 1 and len(own.mean) == len(lost)
            bias = bias + (lost[:, 0] * own.mean if depthwise else lost @ own.mean)
        return self.constant(bias.astype(np.float32), name)

    def rows(self, weights: Weights, name: str, ids: str) -> str:
        """Rows of a table by number. The table is in int8 with a calibration, and wherever it is stored so.

        :param weights: the tensors
        :param name: the table among them, (rows, w)
        :param ids: int64, any shape
        :return: float32 (..., w)
        """
        compact = weights.compact(name)
        if compact is None:
            if not self._calibration:
                return self.node("Gather", self.constant(weights[name], "words"), ids, axis=0)
            compact = compact_rows(weights[name])
        table, scales = compact
        whole = self.node("Cast", self.node("Gather", self.constant(table, "words"), ids, axis=0), to=TensorProto.FLOAT)
        return self.node("Mul", whole, self.node("Gather", self.constant(scales[:, None]), ids, axis=0))

    def model(self, output: str, dimension: int | str, name: str) -> onnx.ModelProto:
        """The finished model; its one output is called ``vectors``.

        :param output: the value to give out, float32 (n, dimension)
        :param dimension: the length of a vector
        :param name: the graph's name
        :return: the model; if it observes, its output is float32 (1, all observations): for each layer the lowest and
            the highest value and the mean of every channel of its input, and, of a matrix, the largest weight of every
            channel. Its property OBSERVED lists the layers in JSON, in order: name, value that it reads, channels,
            whether a matrix
        """
        if self._observe:
            output = self.node("Unsqueeze", self.node("Concat", *self._observations, axis=0), self.integers(0))
            dimension = "observations"
            helper.set_model_props(self._model, {OBSERVED: json.dumps(self._observed)})
        self._graph.node.append(helper.make_node("Identity", [output], ["vectors"], name="vectors"))
        self._graph.output.append(helper.make_tensor_value_info("vectors", TensorProto.FLOAT, ["n", dimension]))
        self._graph.name = name
        return self._model


def _compact(weight: FloatArray, own: LayerInput, name: str) -> tuple[NDArray[np.int8], FloatArray]:
    """The int8 rows of a layer's weight, after its input's smoothing, and their scales."""
    if own.smooth is not None and own.smooth.shape != weight.shape[1:]:
        raise WeightsError(
            f"the calibration of layer {name!r} is of {own.smooth.shape} channels, the layer of {weight.shape[1:]}"
        )
    return compact_rows(weight if own.smooth is None else weight * own.smooth)
