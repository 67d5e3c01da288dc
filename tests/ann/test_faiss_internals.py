"""The calls of FAISS that its Python layer does not document, against the version that is installed."""

import re
from importlib import metadata
from pathlib import Path
from typing import Any

import faiss as typed_faiss
import numpy as np
import pytest

faiss: Any = typed_faiss

DIMENSION, ROWS, M = 8, 300, 4


@pytest.fixture
def index() -> Any:
    index = faiss.IndexHNSWSQ(DIMENSION, faiss.ScalarQuantizer.QT_8bit_direct, M, faiss.METRIC_L2)
    index.is_trained = True
    index.add(np.random.default_rng(0).integers(0, 256, (ROWS, DIMENSION)).astype(np.float32))
    return index


def test_the_installed_version_is_below_the_pinned_bound() -> None:
    (bound,) = re.findall(r'"faiss-cpu>=[0-9.]+,<([0-9]+\.[0-9]+)"', Path("pyproject.toml").read_text(encoding="utf-8"))
    installed = tuple(map(int, metadata.version("faiss-cpu").split(".")[:2]))
    assert installed < tuple(map(int, bound.split(".")))


def test_the_links_of_a_graph_can_be_written_in_place(index: Any) -> None:
    links = index.hnsw.neighbors
    view = faiss.rev_swig_ptr(links.data(), links.size())
    offsets = faiss.vector_to_array(index.hnsw.offsets)
    assert (view.dtype, len(view), len(offsets)) == (np.int32, links.size(), ROWS + 1)
    assert index.hnsw.nb_neighbors(0) == 2 * M
    view[0] = 7
    copy = faiss.deserialize_index(faiss.serialize_index(index))
    copied = copy.hnsw.neighbors
    assert faiss.rev_swig_ptr(copied.data(), copied.size())[0] == 7


def test_a_search_of_the_base_level_starts_from_given_nodes(index: Any) -> None:
    query = index.reconstruct(5)[None]
    distances, labels = np.empty((1, 3), np.float32), np.empty((1, 3), np.int64)
    start, start_distances = np.array([[5]], np.int32), np.zeros((1, 1), np.float32)
    arrays = (query, start, start_distances, distances, labels)
    code, nodes, nearest, out, best = (faiss.swig_ptr(array) for array in arrays)
    index.search_level_0(1, code, 3, nodes, nearest, out, best, 1, 2, faiss.SearchParametersHNSW(efSearch=16))
    assert (labels[0, 0], distances[0, 0]) == (5, 0)


def test_permuting_the_entries_moves_codes_and_links_together(index: Any) -> None:
    order = np.random.default_rng(1).permutation(ROWS)
    before = index.reconstruct_n(0, ROWS)
    index.permute_entries(order)
    np.testing.assert_array_equal(index.reconstruct_n(0, ROWS), before[order])
    assert index.search(before[:1], 1)[1][0, 0] == np.flatnonzero(order == 0)[0]


def test_an_index_is_read_from_memory_without_a_copy(index: Any) -> None:
    content = faiss.serialize_index(index)
    reader = faiss.ZeroCopyIOReader(faiss.swig_ptr(content), len(content))
    opened = faiss.read_index(reader)
    content[-ROWS * DIMENSION :] = 9
    assert set(faiss.downcast_index(opened.storage).reconstruct(0).tolist()) == {9.0}
