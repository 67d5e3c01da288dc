"""Large matrix products, one after another, in the form that the towers have them: the ceiling of an engine."""

from pathlib import Path

import numpy as np
import onnx
from onnx import TensorProto

from babelclip.checkpoints.weights import Weights
from babelclip.graphs.builder import GraphBuilder
from babelclip.graphs.layers import linear
from babelclip.graphs.quantization import LayerInput
from babelclip.vectors import FloatArray

PRODUCTS = 8
"""Of one run, so that handing numbers in and out counts for little."""
SHAPES = ((1600, 768, 3072), (1024, 1024, 1024), (2048, 2048, 2048))
"""Rows, inner and outer size: those of 32 pictures in a ViT-B/32, and squares."""
SMALL_SHAPES = ((64, 32, 64),)
"""For trying it."""
RANGE = 4.0
"""Standard deviations that int8 covers."""


def product_graph(rows: int, inner: int, outer: int, *, int8: bool) -> onnx.ModelProto:
    """A chain of PRODUCTS matrix products, (rows, inner) x (inner, outer) and back in turn.

    :param rows: of the input
    :param inner: its columns
    :param outer: columns of every other product
    :param int8: round inputs and weights as quantized towers do
    :return: ``x`` float32 (rows, inner) -> ``vectors`` float32 (rows, 1), the largest number of each row
    """
    rng = np.random.default_rng(0)
    weights: dict[str, FloatArray] = {}
    calibration = {}
    sizes = [(outer, inner) if i % 2 == 0 else (inner, outer) for i in range(PRODUCTS)]
    for i, (outputs, inputs) in enumerate(sizes):
        matrix = rng.standard_normal((outputs, inputs), dtype=np.float32) / np.sqrt(inputs)
        weights[f"{i}.weight"] = matrix.astype(np.float32)
        calibration[str(i)] = LayerInput(-RANGE, RANGE, np.zeros(inputs, np.float32))
    g = GraphBuilder(calibration if int8 else None)
    value = g.input("x", TensorProto.FLOAT, (rows, inner))
    for i in range(PRODUCTS):
        value = linear(g, value, Weights(weights, Path("products")), str(i), bias=False)
    return g.model(g.node("ReduceMax", value, axes=[1], keepdims=1), 1, "products")


def product_flops(rows: int, inner: int, outer: int) -> int:
    """The operations of one run: a multiplication and an addition count as two.

    :param rows: as in product_graph
    :param inner: as in product_graph
    :param outer: as in product_graph
    :return: how many
    """
    return 2 * PRODUCTS * rows * inner * outer
