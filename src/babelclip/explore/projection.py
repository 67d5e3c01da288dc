"""Map projection: layout of vectors in two or a few dimensions that keeps neighbours together.

UMAP (McInnes, Healy & Melville 2018), with the neighbours of FAISS in place of umap-learn's own search.
"""

import warnings

import faiss
import numpy as np

from babelclip.extras import importing
from babelclip.vectors import FloatArray

SEED = 0
NEIGHBOURS = 15
APART = 0.15
"""How near points may lie (UMAP's min_dist): closer makes denser islands."""
FEWEST_FOR_UMAP = 8
START_SPREAD = 10.0
"""The extent at which UMAP starts its places."""


def reduce(vectors: FloatArray, dimensions: int = 2, *, apart: float = APART, seed: int = SEED) -> FloatArray:
    """Project vectors to few dimensions, so that neighbours stay near.

    :param vectors: float32 (n, d), unit rows
    :param dimensions: of the result
    :param apart: how near points may lie, in 0..1
    :param seed: the same seed gives the same places
    :return: float32 (n, dimensions)
    :raises MissingDependencyError: if umap-learn is not installed
    """
    if not len(vectors):
        return np.empty((0, dimensions), dtype=np.float32)
    start = _principal(vectors, dimensions)
    if len(vectors) < FEWEST_FOR_UMAP:
        return start
    with importing("explore"), warnings.catch_warnings():
        # It says that TensorFlow, which only its parametric form needs, is not there.
        warnings.simplefilter("ignore")
        from umap import UMAP
    count = min(NEIGHBOURS, len(vectors) - 1)
    index = faiss.IndexFlatIP(vectors.shape[1])
    index.add(np.ascontiguousarray(vectors))
    cosines, found = index.search(np.ascontiguousarray(vectors), count)
    with warnings.catch_warnings():
        # It warns of photos that are copies of each other, and that neighbours which are given cannot place new ones.
        warnings.simplefilter("ignore")
        places = UMAP(
            n_components=dimensions,
            n_neighbors=count,
            min_dist=apart,
            metric="cosine",
            init=start,
            random_state=seed,
            n_jobs=1,
            precomputed_knn=(found.astype(np.int32), np.maximum(0, 1 - cosines)),
        ).fit_transform(vectors)
    return np.asarray(places, dtype=np.float32)


def _principal(vectors: FloatArray, dimensions: int) -> FloatArray:
    """Project to the first principal components: the deterministic start of UMAP."""
    centred = vectors - vectors.mean(axis=0, keepdims=True)
    values, axes = np.linalg.eigh(centred.T @ centred)
    places = centred @ axes[:, np.argsort(-values)[:dimensions]]
    span = float(np.abs(places).max(initial=0))
    scaled: FloatArray = (places * (START_SPREAD / span if span else 1.0)).astype(np.float32)
    return scaled
