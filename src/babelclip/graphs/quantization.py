"""Static int8: what the inputs of linear layers and convolutions look like, and how that is kept.

Weights are int8 rows, a scale each, as in weights.compact_rows. Inputs are uint8 with one scale and zero point a
tensor, from the range that was observed on samples. Where a few channels are much larger than the others, a part of
their size is moved into the weights first (SmoothQuant, Xiao et al. 2023). What the rounding of the weights does to the
mean output is taken off the bias (Nagel et al. 2019).

A calibration is a safetensors file whose metadata say ``format: 1``. For a layer NAME it holds NAME.range float32 (2,),
its lowest and highest input after smoothing, NAME.mean float32 (inputs,), the mean input of every channel before it,
and of a matrix NAME.smooth float32 (inputs,), what every channel is divided by.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from safetensors import SafetensorError, safe_open
from safetensors.numpy import save_file

from babelclip.errors import WeightsError
from babelclip.vectors import FloatArray

FORMAT = "1"
SMALLEST = 1e-5
"""Size of a channel that counts as nothing."""
FLOOR_QUANTILE = 0.1
"""No channel is divided by less than this quantile of what the others are: one that slept in the samples may wake."""
_RANGE, _MEAN, _SMOOTH = ".range", ".mean", ".smooth"


@dataclass(frozen=True, slots=True)
class LayerInput:
    """The input of a layer: its lowest and highest value after each channel was divided by ``smooth`` (inputs,), and
    the mean of every channel before that (inputs,).
    """

    low: float
    high: float
    mean: FloatArray
    smooth: FloatArray | None = None


ActivationRanges = Mapping[str, LayerInput]
"""Layer -> its input."""


def calibrate(
    lows: FloatArray, highs: FloatArray, mean: FloatArray, weight: FloatArray | None, strength: float
) -> LayerInput:
    """Describe the input of a layer from what was observed on groups of samples.

    The range is the mean over the groups of each group's extremes, so that a single outlier does not stretch it.

    :param lows: float32 (groups, inputs), the lowest value of every channel in a group
    :param highs: float32 (groups, inputs), the highest
    :param mean: float32 (inputs,)
    :param weight: float32 (inputs,), the largest weight of every channel, where the input may be smoothed; else None
    :param strength: how much of the difference between channels is moved into the weights: the alpha of SmoothQuant
    :return: the description
    """
    smooth = None
    if weight is not None:
        reach = np.maximum(np.maximum(np.abs(lows), np.abs(highs)).mean(axis=0), SMALLEST)
        smooth = (reach**strength / np.maximum(weight, SMALLEST) ** (1 - strength)).astype(np.float32)
        smooth /= np.exp(np.log(smooth).mean())
        smooth = np.maximum(smooth, np.quantile(smooth, FLOOR_QUANTILE)).astype(np.float32)
        lows, highs = lows / smooth, highs / smooth
    low, high = float(lows.min(axis=1).mean()), float(highs.max(axis=1).mean())
    return LayerInput(min(0.0, low), max(0.0, high), mean, smooth)


def write_calibration(path: Path, calibration: ActivationRanges) -> None:
    """Write a calibration.

    :param path: the file
    :param calibration: by layer
    """
    arrays: dict[str, FloatArray] = {}
    for name, own in calibration.items():
        arrays[name + _RANGE] = np.array([own.low, own.high], dtype=np.float32)
        arrays[name + _MEAN] = own.mean
        if own.smooth is not None:
            arrays[name + _SMOOTH] = own.smooth
    save_file(arrays, path, metadata={"format": FORMAT})


def read_calibration(path: Path) -> dict[str, LayerInput]:
    """Read a calibration.

    :param path: the file
    :return: by layer
    :raises WeightsError: if it cannot be read, is of another format, or its numbers make no sense
    """
    try:
        with safe_open(path, framework="numpy") as file:
            form = (file.metadata() or {}).get("format")
            arrays = {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118 (not a mapping)
    except (SafetensorError, OSError) as error:
        raise WeightsError(f"{path} cannot be read as a calibration: {error}") from None
    if form != FORMAT:
        raise WeightsError(f"{path} is a calibration of format {form}, not {FORMAT}; make it anew: babelclip quantize")
    found = {}
    for key in arrays:
        if key.endswith(_RANGE):
            name = key.removesuffix(_RANGE)
            mean, smooth = arrays.get(name + _MEAN), arrays.get(name + _SMOOTH)
            ends = arrays[key]
            sound = mean is not None and ends.shape == (2,) and ends[0] <= 0 <= ends[1] and np.isfinite(ends).all()
            if not sound or not (smooth is None or (smooth > 0).all()):
                raise WeightsError(f"{path}: the calibration of layer {name!r} is damaged")
            found[name] = LayerInput(float(ends[0]), float(ends[1]), arrays[name + _MEAN], smooth)
    return found
