"""A small writer of ONNX graphs: values are names, every call appends a node and returns the name of its output."""

from collections.abc import Sequence
from typing import Any

import numpy as np
import onnx
from numpy.typing import NDArray
from onnx import TensorProto, helper

OPSET = 17
"""The first with LayerNormalization as one operator."""

IR_VERSION = 8
"""The one that came with this opset, so that older runtimes read what newer onnx packages write."""


class GraphBuilder:
    """Collects nodes and constants, then gives the model."""

    def __init__(self) -> None:
        """Start an empty graph."""
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
        self._graph.initializer.add(
            name=name,
            data_type=helper.np_dtype_to_tensor_dtype(array.dtype),
            dims=array.shape,
            raw_data=array.astype(array.dtype.newbyteorder("<"), copy=False).tobytes(),
        )
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

    def model(self, output: str, dimension: int, name: str) -> onnx.ModelProto:
        """The finished model; its one output is called ``vectors``.

        :param output: the value to give out, float32 (n, dimension)
        :param dimension: the length of a vector
        :param name: the graph's name
        :return: the model
        """
        self._graph.node.append(helper.make_node("Identity", [output], ["vectors"], name="vectors"))
        self._graph.output.append(helper.make_tensor_value_info("vectors", TensorProto.FLOAT, ["n", dimension]))
        self._graph.name = name
        return self._model
