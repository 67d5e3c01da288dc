"""The layers that transformer towers share, written into a graph.

Shapes in comments: n texts or pictures, s tokens or patches, w width, h heads.
"""

import math
from dataclasses import dataclass
from typing import Literal

import numpy as np
from onnx import TensorProto

from babelclip.checkpoints.specs import TransformerSpec
from babelclip.checkpoints.weights import Weights
from babelclip.graphs.builder import GraphBuilder
from babelclip.vectors import FloatArray

QUICK_GELU_SLOPE = 1.702
"""x * sigmoid(1.702 x): Hendrycks & Gimpel 2016, as openai/CLIP uses it."""


@dataclass(frozen=True, slots=True)
class LayerNames:
    """Where a family keeps the tensors of one layer: the prefixes of its weight and bias pairs."""

    query: str
    key: str
    value: str
    output: str
    attention_norm: str
    expand: str
    contract: str
    feed_forward_norm: str


def linear(g: GraphBuilder, x: str, weights: Weights, name: str, *, bias: bool = True, exact: bool = False) -> str:
    """Multiply by a matrix and add: x W^T + b, with torch's (out, in) weight.

    :param g: the graph
    :param x: float32 (..., in)
    :param weights: the tensors
    :param name: prefix of ``.weight`` and ``.bias``
    :param bias: whether there is one
    :param exact: never in int8; for the few small matrices after an encoder
    :return: float32 (..., out)
    """
    weight = weights[f"{name}.weight"]
    if exact:
        product = g.node("MatMul", x, g.constant(weight.T, name))
    else:
        x = g.layer_input(x, name, weight.shape[1])
        product = g.node("MatMul", x, g.layer_weight(weight, name, transposed=True))
    if not bias:
        return product
    shift = weights[f"{name}.bias"]
    return g.node("Add", product, g.constant(shift, name) if exact else g.layer_bias(shift, weight, name))


def linear_bytes(g: GraphBuilder, x: str, weight: FloatArray, bias: FloatArray, name: str) -> str:
    """As linear, of an input that is bytes already, so that int8 rounds the weight alone.

    :param g: the graph
    :param x: uint8 (..., in)
    :param weight: float32 (out, in)
    :param bias: float32 (out,)
    :param name: the layer
    :return: float32 (..., out)
    """
    x = g.byte_input(x, name, weight.shape[1])
    product = g.node("MatMul", x, g.layer_weight(weight, name, transposed=True))
    return g.node("Add", product, g.layer_bias(bias, weight, name))


def layer_norm(g: GraphBuilder, x: str, weights: Weights, name: str, eps: float) -> str:
    """Normalise over the last axis (Ba et al. 2016).

    :param g: the graph
    :param x: float32 (..., w)
    :param weights: the tensors
    :param name: prefix of ``.weight`` and ``.bias``
    :param eps: added to the variance
    :return: float32 (..., w)
    """
    scale, shift = g.constant(weights[f"{name}.weight"], name), g.constant(weights[f"{name}.bias"], name)
    return g.node("LayerNormalization", x, scale, shift, axis=-1, epsilon=eps)


def activate(g: GraphBuilder, x: str, activation: str) -> str:
    """The activation of that name in transformers.

    :param g: the graph
    :param x: float32, any shape
    :param activation: one of layouts.ACTIVATIONS
    :return: the same shape
    """
    if activation == "relu":
        return g.node("Relu", x)
    if activation == "quick_gelu":
        return g.node("Mul", x, g.node("Sigmoid", g.node("Mul", x, g.scalar(QUICK_GELU_SLOPE))))
    half = g.node("Mul", x, g.scalar(0.5))
    if activation == "gelu":
        bell = g.node("Erf", g.node("Mul", x, g.scalar(math.sqrt(0.5))))
    else:  # gelu_new and gelu_pytorch_tanh are the same approximation
        cube = g.node("Mul", g.node("Mul", x, x), g.node("Mul", x, g.scalar(0.044715)))
        bell = g.node("Tanh", g.node("Mul", g.node("Add", x, cube), g.scalar(math.sqrt(2 / math.pi))))
    return g.node("Mul", half, g.node("Add", bell, g.scalar(1.0)))


def attention(
    g: GraphBuilder, x: str, weights: Weights, names: LayerNames, spec: TransformerSpec, mask: str | None
) -> str:
    """Multi-head self-attention (Vaswani et al. 2017).

    :param g: the graph
    :param x: float32 (n, s, w)
    :param weights: the tensors
    :param names: where they are
    :param spec: the encoder's facts
    :param mask: float32, added to the scores, broadcast to (n, h, s, s); None where every token sees every other
    :return: float32 (n, s, w)
    """
    head = spec.width // spec.heads

    def heads(name: str, *order: int) -> str:
        split = g.node("Reshape", linear(g, x, weights, name), g.integers(0, 0, spec.heads, head))
        return g.node("Transpose", split, perm=order)

    query, value = heads(names.query, 0, 2, 1, 3), heads(names.value, 0, 2, 1, 3)  # (n, h, s, w/h)
    scores = g.node("MatMul", query, heads(names.key, 0, 2, 3, 1))
    scores = g.node("Mul", scores, g.scalar(head**-0.5))
    if mask is not None:
        scores = g.node("Add", scores, mask)
    mixed = g.node("MatMul", g.node("Softmax", scores, axis=-1), value)
    joined = g.node("Reshape", g.node("Transpose", mixed, perm=[0, 2, 1, 3]), g.integers(0, 0, spec.width))
    return linear(g, joined, weights, names.output)


def encoder_layer(
    g: GraphBuilder,
    x: str,
    weights: Weights,
    names: LayerNames,
    spec: TransformerSpec,
    mask: str | None,
    *,
    norm: Literal["before", "after"],
) -> str:
    """One transformer layer; BERT normalises after each half, CLIP before.

    :param g: the graph
    :param x: float32 (n, s, w)
    :param weights: the tensors
    :param names: where they are
    :param spec: the encoder's facts
    :param mask: as in attention
    :param norm: where the layer norms stand
    :return: float32 (n, s, w)
    """

    def normed(value: str, name: str) -> str:
        return layer_norm(g, value, weights, name, spec.layer_norm_eps)

    def feed_forward(value: str) -> str:
        inner = activate(g, linear(g, value, weights, names.expand), spec.activation)
        return linear(g, inner, weights, names.contract)

    if norm == "before":
        x = g.node("Add", x, attention(g, normed(x, names.attention_norm), weights, names, spec, mask))
        return g.node("Add", x, feed_forward(normed(x, names.feed_forward_norm)))
    x = normed(g.node("Add", x, attention(g, x, weights, names, spec, mask)), names.attention_norm)
    return normed(g.node("Add", x, feed_forward(x)), names.feed_forward_norm)


def clip_layer_names(prefix: str) -> LayerNames:
    """Where both of CLIP's towers keep a layer.

    :param prefix: such as ``vision_model.encoder.layers.0``
    :return: the names
    """
    attention_part = f"{prefix}.self_attn"
    return LayerNames(
        query=f"{attention_part}.q_proj",
        key=f"{attention_part}.k_proj",
        value=f"{attention_part}.v_proj",
        output=f"{attention_part}.out_proj",
        attention_norm=f"{prefix}.layer_norm1",
        expand=f"{prefix}.mlp.fc1",
        contract=f"{prefix}.mlp.fc2",
        feed_forward_norm=f"{prefix}.layer_norm2",
    )


def sequence_length(g: GraphBuilder, ids: str) -> str:
    """The second size of the ids, as an int64 vector of one.

    :param g: the graph
    :param ids: int64 (n, s)
    :return: int64 (1,)
    """
    return g.node("Gather", g.node("Shape", ids), g.integers(1), axis=0)


def unit_length(g: GraphBuilder, x: str) -> str:
    """Scale every row to length one.

    :param g: the graph
    :param x: float32 (n, d)
    :return: float32 (n, d), unit rows
    """
    norm = g.node("ReduceL2", x, axes=[-1], keepdims=1)
    return g.node("Div", x, g.node("Max", norm, g.scalar(float(np.finfo(np.float32).tiny))))


def as_float(g: GraphBuilder, x: str) -> str:
    """Any numbers as float32.

    :param g: the graph
    :param x: any type and shape
    :return: float32, the same shape
    """
    return g.node("Cast", x, to=TensorProto.FLOAT)
