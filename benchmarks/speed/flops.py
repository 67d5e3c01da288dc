"""The multiply-adds of a graph: those of its matrix products and convolutions, for inputs of given shapes."""

import math
from collections.abc import Mapping, Sequence

import onnx
from onnx import helper, shape_inference

from babelclip.errors import InputError

KEPT_ELEMENTS = 64
"""Constants up to this size may be shapes, which shape inference reads; larger ones are weights."""


def multiply_adds(model: onnx.ModelProto, shapes: Mapping[str, Sequence[int]]) -> int:
    """Count the multiply-adds of one run of a graph.

    :param model: the graph
    :param shapes: the shape of every input, by name
    :return: multiply-adds of MatMul, Gemm and Conv; twice as many operations
    :raises InputError: if the shape of an operand cannot be told from those of the inputs
    """
    sizes = _sizes(model, shapes)
    total = 0
    for node in model.graph.node:
        if node.op_type in ("MatMul", "Gemm", "Conv"):
            missing = [name for name in (*node.input[:2], node.output[0]) if name not in sizes]
            if missing:
                raise InputError(f"the shape of {missing[0]!r} does not follow from those of {', '.join(shapes)}")
            total += math.prod(sizes[node.output[0]]) * _terms(node, sizes)
    return total


def _terms(node: onnx.NodeProto, sizes: Mapping[str, tuple[int, ...]]) -> int:
    """How many products are summed for one number of a node's output."""
    if node.op_type == "Conv":
        return math.prod(sizes[node.input[1]][1:])
    first = sizes[node.input[0]]
    turned = any(attribute.name == "transA" and attribute.i for attribute in node.attribute)
    return first[0] if turned else first[-1]


def _sizes(model: onnx.ModelProto, shapes: Mapping[str, Sequence[int]]) -> dict[str, tuple[int, ...]]:
    """The shape of every value that has one, inferred without the weights themselves."""
    light = onnx.ModelProto(ir_version=model.ir_version)
    light.opset_import.extend(model.opset_import)
    light.graph.name = model.graph.name
    light.graph.node.extend(model.graph.node)
    light.graph.output.extend(model.graph.output)
    for value in model.graph.input:
        kind = value.type.tensor_type.elem_type
        light.graph.input.append(helper.make_tensor_value_info(value.name, kind, list(shapes[value.name])))
    for tensor in model.graph.initializer:
        if math.prod(tensor.dims) <= KEPT_ELEMENTS:
            light.graph.initializer.append(tensor)
        else:
            light.graph.input.append(helper.make_tensor_value_info(tensor.name, tensor.data_type, list(tensor.dims)))
    inferred = shape_inference.infer_shapes(light, data_prop=True).graph
    found = {tensor.name: tuple(tensor.dims) for tensor in model.graph.initializer}
    for value in (*inferred.input, *inferred.value_info):
        dims = value.type.tensor_type.shape.dim
        if all(dim.HasField("dim_value") for dim in dims):
            found[value.name] = tuple(dim.dim_value for dim in dims)
    return found
