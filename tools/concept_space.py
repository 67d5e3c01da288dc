"""The training-free space of ``mini``: a half-whitened text space and a vector for every ImageNet class.

The image vector is the convex combination of class vectors under the classifier's probabilities (ConSE,
Norouzi et al. 2013, arXiv 1312.5650). A class vector is a mean of text vectors of its names in many
languages and of the everyday names of its groups, less the mean over all classes.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from imagenet_groups import groups_of
from training_text import ClassNames

__all__ = ["Dense", "Encode", "class_vectors", "fit_dense"]

DIMENSION = 512
# Covariance is raised to -WHITENING / 2: 0 leaves it, 1 makes it the identity.
WHITENING = 0.5
# Least variance, against the mean over directions. LayerNorm leaves three directions with next to none;
# blown up by the whitening they carry rounding only, and spoil the int8 rows of the layer.
VARIANCE_FLOOR = 0.1
# Weight of the mean over other languages against the English name.
TRANSLATION_WEIGHT = 2.0
# Weight of the mean over the groups of a class against its own names.
GROUP_WEIGHT = 1.0

Encode = Callable[[Sequence[str]], NDArray[np.float32]]


@dataclass(frozen=True)
class Dense:
    """The layer ``weight @ (x - mean)``: weight float32 (512, hidden), mean float32 (hidden,)."""

    weight: NDArray[np.float32]
    mean: NDArray[np.float32]

    def unit_rows(self, pooled: NDArray[np.float32]) -> NDArray[np.float32]:
        """Apply the layer and scale rows to unit length.

        :param pooled: float32 (n, hidden), masked means of the token states.
        :return: float32 (n, 512), unit rows.
        """
        projected = (pooled - self.mean) @ self.weight.T
        unit: NDArray[np.float32] = projected / np.linalg.norm(projected, axis=1, keepdims=True)
        return unit


def fit_dense(pooled: NDArray[np.float32], seed: int) -> Dense:
    """Centre and half-whiten a sample of text vectors, then rotate them into 512 dimensions.

    The rotation has orthonormal columns, so it changes no cosine; it spreads the information over all 512.

    :param pooled: float32 (n, hidden), masked means of a text sample.
    :param seed: of the rotation.
    :return: the layer.
    """
    sample = pooled.astype(np.float64)
    mean = sample.mean(axis=0)
    values, vectors = np.linalg.eigh(np.cov(sample - mean, rowvar=False))
    values = np.maximum(values, VARIANCE_FLOOR * values.mean())
    whitening = (vectors * values ** (-WHITENING / 2)) @ vectors.T
    normal = np.random.default_rng(seed).standard_normal((DIMENSION, sample.shape[1]))
    rotation, triangle = np.linalg.qr(normal)
    weight = (rotation * np.sign(np.diag(triangle))) @ whitening
    return Dense(np.ascontiguousarray(weight, np.float32), mean.astype(np.float32))


def class_vectors(classes: Sequence[ClassNames], groups: dict[str, ClassNames], encode: Encode) -> NDArray[np.float32]:
    """Build the vectors of the ImageNet classes.

    :param classes: the names of each class, in the order of the classifier.
    :param groups: the names of each group of ``imagenet_groups``.
    :param encode: texts -> float32 (n, 512), unit rows.
    :return: float32 (classes, 512), rows centred over the classes, not of unit length.
    """
    everything = [*classes, *groups.values()]
    texts = sorted({text for names in everything for text in _all_names(names)})
    vectors = dict(zip(texts, encode(texts), strict=True))
    group_vectors = {group: _concept(names, vectors) for group, names in groups.items()}
    rows = []
    for index, names in enumerate(classes):
        row = _concept(names, vectors)
        members = [group_vectors[group] for group in groups_of(index)]
        if members:
            row = row + GROUP_WEIGHT * np.mean(members, axis=0)
        rows.append(row)
    matrix = np.stack(rows)
    centred: NDArray[np.float32] = (matrix - matrix.mean(axis=0)).astype(np.float32)
    return centred


def _all_names(names: ClassNames) -> list[str]:
    return [names.english, *(text for texts in names.translations.values() for text in texts)]


def _concept(names: ClassNames, vectors: dict[str, NDArray[np.float32]]) -> NDArray[np.float64]:
    """Weigh the English vector and the mean over languages, each language being the mean of its names: (512,)."""
    english = vectors[names.english].astype(np.float64)
    if not names.translations:
        return english
    languages = [np.mean([vectors[text] for text in texts], axis=0) for texts in names.translations.values()]
    vector: NDArray[np.float64] = (english + TRANSLATION_WEIGHT * np.mean(languages, axis=0)) / (1 + TRANSLATION_WEIGHT)
    return vector
