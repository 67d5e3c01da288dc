"""Clusters: photos that belong together, each named by the words that tell it from the others.

k-means is FAISS's, on unit vectors. HDBSCAN (McInnes et al. 2017, scikit-learn's) finds the number by itself and leaves
out what belongs nowhere; it works on 5 dimensions made by UMAP, since in 512 all is about equally far, as BERTopic does
(Grootendorst 2022).
"""

from collections.abc import Sequence
from dataclasses import dataclass

import faiss
import numpy as np
from numpy.typing import NDArray

from babelclip.errors import InputError
from babelclip.explore.projection import reduce
from babelclip.extras import importing
from babelclip.vectors import FloatArray, unit_rows

Labels = NDArray[np.int64]

SEED = 0
ROUNDS = 25
TRIES = 5
"""From different beginnings; the best is kept."""
HDBSCAN_DIMENSIONS = 5
MOST_WORDS = 3
NEXT_WORD = 0.8
"""A further word joins a name if its contrast is at least this share of the first one's."""
NOWHERE = -1


@dataclass(frozen=True, slots=True)
class Cluster:
    """Photos that belong together: the words of its name, best first, and int64 positions, nearest its middle first."""

    name: tuple[str, ...]
    members: Labels


def k_means(vectors: FloatArray, count: int, *, spherical: bool = True, seed: int = SEED) -> Labels:
    """Part vectors into a number of clusters.

    :param vectors: float32 (n, d); unit rows, or places
    :param count: how many clusters; no more than there are vectors
    :param spherical: whether cosines count, for unit rows; else distances, for places
    :param seed: the same seed gives the same clusters
    :return: int64 (n,) numbers of clusters
    :raises InputError: if the number is below 1
    """
    if count < 1:
        raise InputError(f"the number of clusters must be at least 1, not {count}")
    count = min(count, len(vectors))
    if count < 1:
        return np.empty(0, np.int64)
    means = faiss.Kmeans(
        vectors.shape[1], count, niter=ROUNDS, nredo=TRIES, seed=seed, spherical=spherical, min_points_per_centroid=1
    )
    rows = np.ascontiguousarray(vectors)
    means.train(rows)
    labels: Labels = means.index.search(rows, 1)[1][:, 0]
    return labels


def hdbscan(vectors: FloatArray, smallest: int, *, seed: int = SEED) -> Labels:
    """Find clusters and their number; what belongs nowhere is in none.

    :param vectors: float32 (n, d), unit rows
    :param smallest: the fewest photos that make a cluster
    :param seed: the same seed gives the same clusters
    :return: int64 (n,) numbers of clusters, -1 for none
    :raises InputError: if the smallest is below 2
    :raises MissingDependencyError: if scikit-learn or umap-learn is not installed
    """
    if smallest < 2:
        raise InputError(f"a cluster has at least 2 photos, not {smallest}")
    with importing("explore"):
        from sklearn.cluster import HDBSCAN
    if len(vectors) <= smallest:
        return np.full(len(vectors), NOWHERE, np.int64)
    places = reduce(vectors, HDBSCAN_DIMENSIONS, apart=0.0, seed=seed)
    labels: Labels = HDBSCAN(min_cluster_size=smallest, copy=True).fit_predict(places).astype(np.int64)
    return labels


def gather(vectors: FloatArray, labels: Labels, words: Sequence[str], word_vectors: FloatArray) -> list[Cluster]:
    """Clusters with their names.

    :param vectors: float32 (n, d), unit rows
    :param labels: int64 (n,) numbers of clusters, -1 for none
    :param words: what clusters may be called
    :param word_vectors: float32 (words, d), unit rows
    :return: the largest first; those without photos are left out
    """
    numbers, counts = np.unique(labels[labels >= 0], return_counts=True)
    if not len(numbers):
        return []
    numbers = numbers[np.argsort(-counts, kind="stable")]
    members = [np.flatnonzero(labels == number) for number in numbers]
    centres = unit_rows(np.stack([vectors[own].mean(axis=0) for own in members]))
    names = name_by_contrast(vectors, members, words, word_vectors)
    nearest = [own[np.argsort(-(vectors[own] @ c), kind="stable")] for own, c in zip(members, centres, strict=True)]
    return [Cluster(name, own) for name, own in zip(names, nearest, strict=True)]


def name_by_contrast(
    vectors: FloatArray, members: Sequence[Labels], words: Sequence[str], word_vectors: FloatArray
) -> list[tuple[str, ...]]:
    """Words for clusters: those that fit a cluster better than they fit the collection.

    A word's contrast is its mean cosine with the cluster less that with the whole collection, so a word that fits
    everything names nothing. Clusters that have the same best word get a second one, for which their contrast
    with each other counts too.

    :param vectors: float32 (n, d), unit rows
    :param members: positions of each cluster's photos
    :param words: what clusters may be called
    :param word_vectors: float32 (words, d), unit rows
    :return: one to three words a cluster, the best first
    """
    means = np.stack([vectors[own].mean(axis=0) for own in members])
    contrast = (means - vectors.mean(axis=0)) @ word_vectors.T
    best = contrast.argmax(axis=1)
    names: list[tuple[str, ...]] = []
    for cluster, first in enumerate(best):
        rivals = np.flatnonzero(best == first)
        if len(rivals) > 1 and len(words) > 1:
            second = contrast[cluster] + word_vectors @ (means[cluster] - means[rivals].mean(axis=0))
            second[first] = -np.inf
            names.append((words[first], words[int(second.argmax())]))
            continue
        order = np.argsort(-contrast[cluster], kind="stable")[:MOST_WORDS]
        fitting = contrast[cluster][order] >= NEXT_WORD * contrast[cluster][first]
        names.append(tuple(words[i] for i, fits in zip(order, fitting, strict=True) if fits or i == first))
    return names
