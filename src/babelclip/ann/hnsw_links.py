"""The links of a proximity graph (FAISS's HNSW) on its lowest level, where a walk goes: more of them lead both ways."""

from typing import Any

import faiss as typed_faiss
import numpy as np
from numpy.typing import NDArray

from babelclip.ann.exact import Ids

# Its stubs tell of C++, not of the Python layer above it.
faiss: Any = typed_faiss

BLOCK = 100_000
SEED = 0


class GraphLinks:
    """The links as they lie in memory: -1 where a place is free, free places last."""

    def __init__(self, hnsw: Any) -> None:
        """See the links of a graph, for as long as it is there and gets no more rows.

        :param hnsw: FAISS's, of an index
        """
        self._all: NDArray[np.int32] = faiss.rev_swig_ptr(hnsw.neighbors.data(), hnsw.neighbors.size())
        self._first = faiss.vector_to_array(hnsw.offsets)[:-1].astype(np.int64)
        self._places = np.arange(hnsw.nb_neighbors(0))

    def __len__(self) -> int:
        return len(self._first)

    def of(self, nodes: Ids) -> NDArray[np.int32]:
        """The links of nodes.

        :param nodes: int64 (n,)
        :return: int32 (n, places)
        """
        found: NDArray[np.int32] = self._all[self._first[nodes][:, None] + self._places]
        return found

    def add_ways_back(self) -> None:
        """Link nodes to those that link to them, as far as places are free; which of too many is drawn.

        FAISS links both ways, and then drops on each side what other links make needless there.
        """
        random = np.random.default_rng(SEED)
        for start in range(0, len(self), BLOCK):
            nodes = np.arange(start, min(start + BLOCK, len(self)))
            links = self.of(nodes)
            row, place = np.nonzero(links >= 0)
            source, target = links[row, place].astype(np.int64), nodes[row]
            one_way = np.concatenate(
                [
                    ~(self.of(source[i : i + BLOCK]) == target[i : i + BLOCK, None]).any(axis=1)
                    for i in range(0, len(source), BLOCK)
                ]
            )
            drawn = random.permutation(np.flatnonzero(one_way))
            self._add(source[drawn], target[drawn])

    def _add(self, source: Ids, target: Ids) -> None:
        """Put links that are not there into free places."""
        order = np.argsort(source, kind="stable")
        source, target = source[order], target[order]
        nodes, begin, count = np.unique(source, return_index=True, return_counts=True)
        taken = (self.of(nodes) >= 0).sum(axis=1)
        place = np.arange(len(source)) - np.repeat(begin, count) + np.repeat(taken, count)
        free = place < len(self._places)
        self._all[self._first[source[free]] + place[free]] = target[free]
