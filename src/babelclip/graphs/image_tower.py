"""Image towers as graphs: CLIP's vision transformer, and EfficientNet-Lite with a convex head over class vectors."""

import math
from pathlib import Path

import numpy as np
import onnx
from numpy.typing import NDArray
from onnx import TensorProto

from babelclip.checkpoints.specs import EfficientNetSpec, ImageSpec, PixelSpec, TransformerSpec
from babelclip.checkpoints.weights import Weights, read_weights
from babelclip.errors import WeightsError
from babelclip.graphs.builder import GraphBuilder
from babelclip.graphs.layers import (
    activate,
    as_float,
    clip_layer_names,
    encoder_layer,
    layer_norm,
    linear,
    linear_bytes,
    unit_length,
)
from babelclip.graphs.quantization import ActivationRanges
from babelclip.vectors import FloatArray


def build_image_graph(
    spec: ImageSpec,
    weights: Weights | None = None,
    *,
    unit: bool = False,
    features: bool = False,
    calibration: ActivationRanges | None = None,
    observe: bool = False,
    spill: Path | None = None,
) -> onnx.ModelProto:
    """One graph from the bytes of the pixels to vectors.

    :param spec: the tower
    :param weights: its tensors; read from its folder where None
    :param unit: whether the graph scales its rows to length one
    :param features: stop at what the head reads: the normed class token of a ViT (n, width); of an EfficientNet-Lite
        the pooled channels and the class logits, side by side (n, channels + classes)
    :param calibration: the layers that run in int8
    :param observe: give what a calibration is made of instead of vectors; see GraphBuilder.model
    :param spill: keep the weights in this file, beside which the graph must be written; see GraphBuilder
    :return: the model: ``pixels`` uint8 (n, height, width, 3) -> ``vectors`` float32 (n, dimension)
    :raises WeightsError: if a tensor is missing or has the wrong shape
    """
    weights = read_weights(spec.folder) if weights is None else weights
    g = GraphBuilder(calibration, observe=observe, spill=spill)
    pixels = g.input("pixels", TensorProto.UINT8, ["n", *spec.pixels.shape])
    if spec.transformer is not None:
        width = spec.transformer.width
        vectors = read = _vision_transformer(g, pixels, spec, spec.transformer, weights)
        if not features:
            vectors = linear(g, read, weights, "visual_projection", bias=False, exact=True)
    elif spec.efficientnet is not None:
        width = spec.efficientnet.head_channels + spec.efficientnet.classes
        pooled, logits = _efficientnet(
            g, _scaled(g, pixels, spec.pixels), spec.pixels.shape[0], spec.efficientnet, weights
        )
        if features:
            vectors = g.node("Concat", pooled, logits, axis=1)
        else:
            vectors = _class_mix(g, pooled, logits, spec.efficientnet, weights)
    else:
        raise WeightsError(f"{spec.folder}: the spec describes no encoder")
    if unit and not features:
        vectors = unit_length(g, vectors)
    return g.model(vectors, width if features else spec.dimension, f"babelclip image {spec.family}")


def _scaling(spec: PixelSpec) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """(value / 255 - mean) / std as a factor and a summand a channel."""
    mean, std = np.array(spec.mean, dtype=np.float64), np.array(spec.std, dtype=np.float64)
    return 1 / (255 * std), -mean / std


def _scaled(g: GraphBuilder, pixels: str, spec: PixelSpec) -> str:
    """Scaled pixels, channels first: float32 (n, 3, h, w)."""
    scale, shift = _scaling(spec)
    scaled = g.node("Mul", as_float(g, pixels), g.constant(scale.astype(np.float32)))
    shifted = g.node("Add", scaled, g.constant(shift.astype(np.float32)))
    return g.node("Transpose", shifted, perm=[0, 3, 1, 2])


def _patches(g: GraphBuilder, pixels: str, spec: ImageSpec, kernel: FloatArray) -> str:
    """The patch embedding as one matrix product over the bytes of every patch: float32 (n, patches, w). The scaling of
    the pixels is in its weights, so that int8 rounds nothing of the picture.
    """
    size, (height, breadth, _) = spec.patch, spec.pixels.shape
    rows, columns = height // size, breadth // size
    if (rows * size, columns * size) != (height, breadth):
        ends = g.integers(rows * size, columns * size)
        pixels = g.node("Slice", pixels, g.integers(0, 0), ends, g.integers(1, 2))
    x = g.node("Reshape", pixels, g.integers(0, rows, size, columns, size * 3))
    x = g.node("Transpose", x, perm=[0, 1, 3, 2, 4])
    x = g.node("Reshape", x, g.integers(0, rows * columns, size * size * 3))
    by_row = kernel.transpose(0, 2, 3, 1).astype(np.float64)  # (w, rows, columns, 3), as the pixels lie
    scale, shift = _scaling(spec.pixels)
    weight = (by_row * scale).reshape(len(kernel), -1).astype(np.float32)
    bias = (by_row * shift).sum(axis=(1, 2, 3)).astype(np.float32)
    return linear_bytes(g, x, weight, bias, "patches")


def _vision_transformer(g: GraphBuilder, pixels: str, spec: ImageSpec, transformer: TransformerSpec, w: Weights) -> str:
    """A ViT (Dosovitskiy et al. 2021) as CLIP has it: the class token's state, normed."""
    root, width = "vision_model", transformer.width
    height, breadth = (side // spec.patch for side in spec.pixels.shape[:2])
    kernel = w[f"{root}.embeddings.patch_embedding.weight"]
    positions = w[f"{root}.embeddings.position_embedding.weight"]
    if kernel.shape != (width, 3, spec.patch, spec.patch) or positions.shape != (height * breadth + 1, width):
        raise WeightsError(
            f"{spec.folder}: the patch and position tables, {kernel.shape} and {positions.shape}, do not fit its config"
        )
    x = _patches(g, pixels, spec, kernel)  # (n, patches, w)
    # The class token is the same for every picture: a zero patch set before the others, its vector added with the
    # positions, needs no broadcast to the free number of pictures.
    x = g.node("Pad", x, g.integers(0, 1, 0, 0, 0, 0))
    start = positions.copy()
    start[0] += w[f"{root}.embeddings.class_embedding"].reshape(-1)
    x = g.node("Add", x, g.constant(start, "positions"))
    x = layer_norm(g, x, w, f"{root}.pre_layrnorm", transformer.layer_norm_eps)
    for layer in range(transformer.layers):
        names = clip_layer_names(f"{root}.encoder.layers.{layer}")
        x = encoder_layer(g, x, w, names, transformer, None, norm="before")
    token = g.node("Gather", x, g.constant(np.array(0, dtype=np.int64)), axis=1)
    return layer_norm(g, token, w, f"{root}.post_layernorm", transformer.layer_norm_eps)


def _same_pads(size: int, kernel: int, stride: int) -> tuple[int, int]:
    """Zeros before and after an axis in TensorFlow's SAME padding, with which EfficientNet was trained: one less before
    than after where their number is odd.
    """
    total = max(0, (math.ceil(size / stride) - 1) * stride + kernel - size)
    return total // 2, total - total // 2


def _convolve(
    g: GraphBuilder, x: str, w: Weights, name: str, *, size: int, kernel: int = 1, stride: int = 1, groups: int = 1
) -> str:
    """A convolution over a square of ``size``, whose batch norm is folded into it."""
    before, after = _same_pads(size, kernel, stride)
    return g.node(
        "Conv",
        g.layer_input(x, name, w[f"{name}.weight"].shape[1] * groups, convolution=True),
        g.layer_weight(w[f"{name}.weight"], name),
        g.layer_bias(w[f"{name}.bias"], w[f"{name}.weight"], name),
        kernel_shape=[kernel] * 2,
        strides=[stride] * 2,
        pads=[before, before, after, after],
        group=groups,
    )


def _relu6(g: GraphBuilder, x: str) -> str:
    """Relu that ends at six."""
    return g.node("Clip", x, g.scalar(0.0), g.scalar(6.0))


def _efficientnet(g: GraphBuilder, pixels: str, size: int, spec: EfficientNetSpec, w: Weights) -> tuple[str, str]:
    """EfficientNet-Lite: the pooled channels (n, channels) and the class logits (n, classes)."""
    x = _relu6(g, _convolve(g, pixels, w, "stem", size=size, kernel=3, stride=2))
    size = math.ceil(size / 2)
    for i, block in enumerate(spec.blocks):
        inner, channels = x, block.in_channels * block.expand
        if block.expand > 1:
            inner = _relu6(g, _convolve(g, inner, w, f"blocks.{i}.expand", size=size))
        name = f"blocks.{i}.depthwise"
        inner = _convolve(g, inner, w, name, size=size, kernel=block.kernel, stride=block.stride, groups=channels)
        size = math.ceil(size / block.stride)
        inner = _convolve(g, _relu6(g, inner), w, f"blocks.{i}.project", size=size)
        same = block.stride == 1 and block.in_channels == block.out_channels
        x = g.node("Add", x, inner) if same else inner
    x = _relu6(g, _convolve(g, x, w, "head", size=size))
    pooled = g.node("ReduceMean", x, axes=[2, 3], keepdims=0)
    return pooled, linear(g, pooled, w, "classifier", exact=True)


def _class_mix(g: GraphBuilder, pooled: str, logits: str, spec: EfficientNetSpec, w: Weights) -> str:
    """The convex combination of class vectors (ConSE, Norouzi et al. 2013), and what a learned head adds to it."""
    scaled = g.node("Mul", logits, g.scalar(1 / spec.temperature))
    vectors = g.node("MatMul", g.node("Softmax", scaled, axis=-1), g.constant(w["class_vectors"], "classes"))
    if not spec.residual:
        return vectors
    inner = activate(g, linear(g, pooled, w, "residual.expand", exact=True), "gelu")
    return g.node("Add", vectors, linear(g, inner, w, "residual.contract", exact=True))
