"""A small writer of ONNX graphs: values are names, every call appends a node and returns the name of its output."""

from collections.abc import Sequence
from typing import Any

import numpy as np
import onnx
from numpy.typing import NDArray
from onnx import TensorProto, helper, numpy_helper

OPSET = 17
"""The first with LayerNormalization as one operator."""

IR_VERSION = 8
"""The one that came with this opset, so that older runtimes read what newer onnx packages write."""


class GraphBuilder:
    """Collects nodes and constants, then gives the model."""

    def __init__(self) -> None:
        """Start an empty graph."""
        self._nodes: list[onnx.NodeProto] = []
        self._constants: list[onnx.TensorProto] = []
        self._inputs: list[onnx.ValueInfoProto] = []

    def input(self, name: str, dtype: int, shape: Sequence[str | int]) -> str:
        """Declare an input.

        :param name: its name
        :param dtype: an element type of onnx.TensorProto
        :param shape: a number, or a name where the size is free
        :return: the name
        """
        self._inputs.append(helper.make_tensor_value_info(name, dtype, list(shape)))
        return name

    def constant(self, array: NDArray[Any], name: str = "") -> str:
        """Put an array into the graph, in the type it has.

        :param array: the numbers
        :param name: a name for people who look into the graph
        :return: the name of the value
        """
        name = f"{name or 'constant'}:{len(self._constants)}"
        self._constants.append(numpy_helper.from_array(np.asarray(array, order="C"), name))
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
        return self.nodes(operator, *inputs, outputs=1, **attributes)[0]

    def nodes(self, operator: str, *inputs: str, outputs: int, **attributes: Any) -> list[str]:
        """Append a node with several outputs.

        :param operator: an operator of the standard set
        :param *inputs: names of values
        :param outputs: how many
        :param **attributes: the operator's attributes
        :return: the names of its outputs
        """
        stem = f"{operator}:{len(self._nodes)}"
        names = [f"{stem}.{i}" for i in range(outputs)]
        self._nodes.append(helper.make_node(operator, list(inputs), names, name=stem, **attributes))
        return names

    def model(self, output: str, dimension: int, name: str) -> onnx.ModelProto:
        """The finished model; its one output is called ``vectors``.

        :param output: the value to give out, float32 (n, dimension)
        :param dimension: the length of a vector
        :param name: the graph's name
        :return: the model
        """
        self._nodes.append(helper.make_node("Identity", [output], ["vectors"], name="vectors"))
        graph = helper.make_graph(
            self._nodes,
            name,
            self._inputs,
            [helper.make_tensor_value_info("vectors", TensorProto.FLOAT, ["n", dimension])],
            initializer=self._constants,
        )
        return helper.make_model(
            graph,
            opset_imports=[helper.make_opsetid("", OPSET)],
            ir_version=IR_VERSION,
            producer_name="babelclip",
        )
