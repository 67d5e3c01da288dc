"""Whether two files show the same picture: compared pixel by pixel, at a scale at which text and small changes count.

The larger picture is resized to the smaller one's size, by the mix of filters that explains the smaller one best, since
any program may have made it. Three things then tell a re-save from another picture:

- Blocks of 4 x 4 pixels. Compression changes single pixels of text by 60 levels, but it spreads its errors: the largest
  error of a block stays within a small multiple of the errors of all blocks with detail. A changed letter, digit or
  face is one block far beyond the others.
- Colour, in blocks of 16 x 16 pixels, since most formats store it at half the resolution.
- Noise. Two shots from a tripod differ by the noise of the sensor alone. In a re-save the fine detail that is left is
  the original's; in another shot it is not.

The limits were chosen on pages, screenshots, receipts, photos and bursts; docs/benchmarks/duplicates.md has the
measurement.
"""

import math
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from PIL import Image

Levels = NDArray[np.float32]

MAX_PIXELS = 10_000_000
"""Larger pictures are compared at this size: an A4 page at 300 dots an inch fits, with letters of 40 pixels."""
MAX_SCALE = 4.0
"""Width of the larger picture to that of the smaller; beyond, text that differs can no longer be seen."""
MAX_OFF_PIXELS = 1.5
"""How far the smaller one's height may be from the larger one's at its scale: programs round differently."""
BLOCK, COLOUR_BLOCK, NOISE_BLOCK = 4, 16, 16
DETAIL_VARIANCE = 30.0
"""Variance of the levels in a block from which it has detail."""
MOST_LEVELS, MOST_TYPICAL_LEVELS = 16.0, 12.5
"""The most that a block may differ, in levels of 0..255; and the same of 99% of the blocks with detail."""
BASE_LEVELS, TYPICAL_SHARE = 3.2, 2.25
"""A block may differ by BASE_LEVELS and TYPICAL_SHARE times the 99% quantile of the blocks with detail."""
MOST_COLOUR_LEVELS = 10.0
MOST_GAIN, MOST_SHIFT = 0.08, 2.0
"""How far the mix of filters may be from leaving brightness as it is: its sum from 1, and the mean level's change."""
LEAST_COHERENCE = 0.2
"""Of the fine detail in the smoothest blocks: 0.01 to 0.2 between two shots, 0.24 and more in a re-save."""
LEAST_NOISE_POWER = 0.5
LEAST_NOISE_BLOCKS = 32
FITTED_PIXELS = 400_000
_FILTERS = (Image.Resampling.LANCZOS, Image.Resampling.BICUBIC, Image.Resampling.BILINEAR, Image.Resampling.BOX)


@dataclass(frozen=True, slots=True)
class Comparison:
    """How far two pictures of one size differ.

    ``most`` and ``typical`` are the largest difference of a block and the 99% quantile of blocks with detail,
    ``colour`` the largest in colour, all in levels of 0..255. ``coherence`` is the share of the fine detail that both
    have, 1 where there is none to compare. ``gain`` and ``shift`` are what resizing did to the contrast and
    the mean.
    """

    most: float
    typical: float
    colour: float
    coherence: float
    gain: float = 1.0
    shift: float = 0.0

    @property
    def same(self) -> bool:
        """Whether both are the same picture."""
        return (
            self.most <= min(MOST_LEVELS, BASE_LEVELS + TYPICAL_SHARE * self.typical)
            and self.typical <= MOST_TYPICAL_LEVELS
            and self.colour <= MOST_COLOUR_LEVELS
            and self.coherence >= LEAST_COHERENCE
            and abs(self.gain - 1) <= MOST_GAIN
            and abs(self.shift) <= MOST_SHIFT
        )


def same_picture(first: Image.Image, second: Image.Image) -> bool:
    """Whether two pictures are one, saved again or resized.

    :param first: an RGB image, upright
    :param second: another
    :return: True only where every part of both is the same within what compression changes
    """
    large, small = sorted((first, second), key=lambda image: -image.width * image.height)
    return may_be_resized(large.size, small.size) and compare(large, small).same


def may_be_resized(large: tuple[int, int], small: tuple[int, int]) -> bool:
    """Whether a picture of one size can be another, resized and not cropped.

    :param large: width and height of the one with more pixels
    :param small: of the other
    :return: True if the shapes agree within rounding, and the scale is at most MAX_SCALE
    """
    scale = max(large[0] / small[0], large[1] / small[1])
    return (
        1 <= scale <= MAX_SCALE
        and abs(large[0] / scale - small[0]) <= MAX_OFF_PIXELS
        and abs(large[1] / scale - small[1]) <= MAX_OFF_PIXELS
    )


def compare(large: Image.Image, small: Image.Image) -> Comparison:
    """Compare a picture with another of at most its size.

    :param large: an RGB image
    :param small: an RGB image with at most as many pixels, of the same shape
    :return: how far they differ at the smaller one's size, or at MAX_PIXELS
    """
    shrink = math.sqrt(MAX_PIXELS / (small.width * small.height))
    if shrink < 1:
        size = (round(small.width * shrink), round(small.height * shrink))
        large = large.resize(size, Image.Resampling.BOX) if large.size == small.size else large
        small = small.resize(size, Image.Resampling.BOX)
    gain, shift = 1.0, 0.0
    target = _levels(small.convert("L"))
    if large.size != small.size:
        fitted, gain, shift = _fit(large.convert("L"), target, small.size)
    else:
        fitted = _levels(large.convert("L"))
    most, typical = _block_differences(fitted, target)
    colour = _colour_difference(large.resize(small.size, Image.Resampling.LANCZOS), small)
    return Comparison(most, typical, colour, _coherence(fitted, target), gain, shift)


def _levels(image: Image.Image) -> Levels:
    return np.asarray(image, dtype=np.float32)


def _fit(large: Image.Image, target: Levels, size: tuple[int, int]) -> tuple[Levels, float, float]:
    """The larger picture at the smaller one's size, by the mix of filters with the least squared error; its gain,
    and how far its mean is shifted.
    """
    resized = [_levels(large.resize(size, kind)) for kind in _FILTERS]
    factor = round(large.width / size[0])
    if factor > 1:
        # Programs that average whole pixels keep the grid where it was, and cut or fill the last odd column.
        reduced = large.reduce(factor)
        if reduced.size != size and size[0] * factor <= large.width and size[1] * factor <= large.height:
            reduced = large.crop((0, 0, size[0] * factor, size[1] * factor)).reduce(factor)
        if reduced.size == size:
            resized.append(_levels(reduced))
    step = max(1, target.size // FITTED_PIXELS)
    samples = np.stack([image.ravel()[::step] for image in resized], axis=1)
    columns = np.column_stack([samples, np.ones(len(samples), dtype=np.float32)])
    weights = np.linalg.lstsq(columns, target.ravel()[::step], rcond=None)[0]
    fitted = np.full(target.shape, weights[-1], dtype=np.float32)
    for weight, image in zip(weights[:-1], resized, strict=True):
        fitted += weight * image
    gain = float(weights[:-1].sum())
    return fitted, gain, float(resized[-1].mean()) * (gain - 1) + float(weights[-1])


def _means(levels: Levels, side: int, top: int = 0, left: int = 0) -> Levels:
    """The means of square blocks from a corner on; a picture narrower than a block is a block."""
    rows, columns = ((length // side * side or length) for length in (levels.shape[0] - top, levels.shape[1] - left))
    return _levels(Image.fromarray(levels[top : top + rows, left : left + columns]).reduce(side))


def _block_differences(first: Levels, second: Levels) -> tuple[float, float]:
    """The largest difference of the means of blocks, which overlap by half; the 99% quantile of those with detail."""
    most, typical = 0.0, 0.0
    squares = np.square(second)
    for top in (0, min(BLOCK // 2, len(first) - 1)):
        for left in (0, min(BLOCK // 2, first.shape[1] - 1)):
            mean = _means(second, BLOCK, top, left)
            apart = np.abs(_means(first, BLOCK, top, left) - mean)
            most = max(most, float(apart.max()))
            detail = apart[_means(squares, BLOCK, top, left) - np.square(mean) > DETAIL_VARIANCE]
            if len(detail):
                typical = max(typical, float(np.quantile(detail, 0.99)))
    return most, typical


def _colour_difference(first: Image.Image, second: Image.Image) -> float:
    """The largest difference of the means of blocks in the two components of colour."""
    most = 0.0
    components = zip(first.convert("YCbCr").split()[1:], second.convert("YCbCr").split()[1:], strict=True)
    for one, other in components:
        apart = _levels(one) - _levels(other)
        for corner in (0, min(COLOUR_BLOCK // 2, min(one.size) - 1)):
            most = max(most, float(np.abs(_means(apart, COLOUR_BLOCK, corner, corner)).max()))
    return most


def _coherence(first: Levels, second: Levels) -> float:
    """How much of the fine detail in the smoothest blocks both have, about 0..1; 1 where too few blocks have any."""
    if min(first.shape) < NOISE_BLOCK:
        return 1.0
    one, other = _high_pass(first), _high_pass(second)
    powers = [_means(np.square(fine), NOISE_BLOCK) for fine in (one, other)]
    least = np.minimum(*powers)
    noisy = np.sort(powers[1][least > LEAST_NOISE_POWER])
    if len(noisy) < LEAST_NOISE_BLOCKS:
        return 1.0
    highest = noisy[max(LEAST_NOISE_BLOCKS // 2, len(noisy) // 4) - 1]
    chosen = (least > LEAST_NOISE_POWER) & (powers[1] <= highest)
    both = _means(one * other, NOISE_BLOCK)[chosen].sum()
    return float(both / min(power[chosen].sum() for power in powers))


def _high_pass(levels: Levels) -> Levels:
    """Each pixel less the mean of its four neighbours."""
    middle = levels[1:-1, 1:-1]
    around = levels[:-2, 1:-1] + levels[2:, 1:-1] + levels[1:-1, :-2] + levels[1:-1, 2:]
    high: Levels = middle - around / np.float32(4)
    return high
