from pathlib import Path
from typing import Any

import faiss as typed_faiss
import pytest

from babelclip.ann.hnsw import HnswGraph
from babelclip.ann.hnsw_memory import CACHE_LINE_BYTES, index_to_grow, index_to_search
from tests.helpers.clustered import DIMENSION, clustered

faiss: Any = typed_faiss


def test_an_open_graph_is_where_its_file_was_read_to_with_codes_at_cache_lines(tmp_path: Path) -> None:
    rows = clustered(1, 500)
    graph = HnswGraph.trained(rows)
    graph.add(rows)
    path = tmp_path / "index.faiss"
    faiss.serialize_index(graph.index).tofile(path)
    opened, memory = index_to_search(path, 500 * DIMENSION)
    assert addresses(opened)[0] % CACHE_LINE_BYTES == 0
    assert all(address in span(memory) for address in addresses(opened))
    grown = index_to_grow(path)
    assert not any(address in span(memory) for address in addresses(grown))
    grown.add(graph.projection.apply(clustered(2, 10)))
    assert (grown.ntotal, opened.ntotal) == (510, 500)
    with pytest.raises(FileNotFoundError):
        index_to_search(tmp_path / "other", 0)


def addresses(index: Any) -> list[int]:
    parts = faiss.downcast_index(index.storage).codes, index.hnsw.neighbors
    return [faiss.rev_swig_ptr(part.data(), 1).ctypes.data for part in parts]


def span(memory: Any) -> range:
    start = memory[0].ctypes.data
    return range(start, start + memory[0].nbytes)
