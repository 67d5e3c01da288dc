from typing import Any

import faiss as typed_faiss
import numpy as np
import pytest

from babelclip.ann.hnsw_links import GraphLinks
from tests.helpers.clustered import DIMENSION, clustered

faiss: Any = typed_faiss


def test_links_lead_both_ways_where_slots_are_free(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("babelclip.ann.hnsw_links.BLOCK_ROWS", 700)
    index = faiss.IndexHNSWFlat(DIMENSION, 4)
    index.add(clustered(1, 2000))
    links = GraphLinks(index.hnsw)
    nodes = np.arange(2000)
    before = [set(row[row >= 0].tolist()) for row in links.of(nodes)]
    links.add_reverse_links()
    after = [set(row[row >= 0].tolist()) for row in links.of(nodes)]
    assert sum(map(len, after)) > sum(map(len, before))
    reverse = [set(np.flatnonzero([node in row for row in before]).tolist()) for node in nodes[:50]]
    for node in nodes[:50].tolist():
        assert before[node] <= after[node] <= before[node] | reverse[node]
        assert reverse[node] <= after[node] or len(after[node]) == 8
        row = links.of(nodes[node : node + 1])[0]
        assert (row[len(after[node]) :] == -1).all()
