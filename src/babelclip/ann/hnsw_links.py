"""The links of the base level of FAISS's HNSW, which most of a search follows: free slots get reverse links."""

from typing import Any

import faiss as typed_faiss
import numpy as np
from numpy.typing import NDArray

from babelclip.ann.exact import Ids

# The stubs describe the C++ classes, not the Python layer above them.
faiss: Any = typed_faiss

BLOCK_ROWS = 100_000
SEED = 0


class GraphLinks:
    """The links in FAISS's memory: -1 in a free slot, free slots last."""

    def __init__(self, hnsw: Any) -> None:
        """View the links of a graph; valid while the graph exists and gets no more rows.

        :param hnsw: FAISS's ``HNSW`` structure of an index
        """
        self._slots: NDArray[np.int32] = faiss.rev_swig_ptr(hnsw.neighbors.data(), hnsw.neighbors.size())
        self._offsets = faiss.vector_to_array(hnsw.offsets)[:-1].astype(np.int64)
        self._slot_numbers = np.arange(hnsw.nb_neighbors(0))

    def __len__(self) -> int:
        return len(self._offsets)

    def of(self, nodes: Ids) -> NDArray[np.int32]:
        """Read the links of nodes.

        :param nodes: int64 (n,)
        :return: int32 (n, slots)
        """
        links: NDArray[np.int32] = self._slots[self._offsets[nodes][:, None] + self._slot_numbers]
        return links

    def add_reverse_links(self) -> None:
        """Link nodes to those that link to them, as far as slots are free; a random choice is made among too many.

        FAISS links in both directions, and then prunes on each side the links that others make redundant.
        """
        random = np.random.default_rng(SEED)
        for start in range(0, len(self), BLOCK_ROWS):
            nodes = np.arange(start, min(start + BLOCK_ROWS, len(self)))
            links = self.of(nodes)
            row, slot = np.nonzero(links >= 0)
            source, target = links[row, slot].astype(np.int64), nodes[row]
            one_way = np.concatenate(
                [
                    ~(self.of(source[i : i + BLOCK_ROWS]) == target[i : i + BLOCK_ROWS, None]).any(axis=1)
                    for i in range(0, len(source), BLOCK_ROWS)
                ]
            )
            drawn = random.permutation(np.flatnonzero(one_way))
            self._add(source[drawn], target[drawn])

    def _add(self, source: Ids, target: Ids) -> None:
        """Write new links into free slots."""
        order = np.argsort(source, kind="stable")
        source, target = source[order], target[order]
        nodes, begin, count = np.unique(source, return_index=True, return_counts=True)
        used = (self.of(nodes) >= 0).sum(axis=1)
        slot = np.arange(len(source)) - np.repeat(begin, count) + np.repeat(used, count)
        free = slot < len(self._slot_numbers)
        self._slots[self._offsets[source[free]] + slot[free]] = target[free]
