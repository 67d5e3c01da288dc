"""Neighbour search against other libraries: baselines and the page."""

import sys
from collections.abc import Sequence
from pathlib import Path

import pytest

from babelclip.benchmark.rounds import Measurement
from babelclip.benchmark.search import FilteredRow, SizeRow, measure_sizes
from babelclip.benchmark.synthetic_vectors import drawn_pictures
from babelclip.models.model import Model
from babelclip.vectors import FloatArray
from benchmarks.search.adapters import Babelclip, Hnswlib
from benchmarks.search.autofaiss_baseline import autofaiss_baseline
from benchmarks.search.libraries import compare_libraries, lines_of
from benchmarks.search.page import as_markdown, libraries_as_markdown

FILTERED = FilteredRow("the fifth least similar to it", 0.2, 0.95, 1.0, 0.96, 2.0)
ROW = SizeRow(
    1500, "graph, ef_search / candidates: 64 / 32", 1.0, 0.97, 0.98, 0.5, 0.9, 0.6, 3.0, 10.0, 5.0, (FILTERED,)
)


def test_the_page_has_a_row_per_size_and_filter() -> None:
    page = as_markdown([ROW], source="made here")
    assert "| 1,500 | graph" in page
    assert "| 1,500 | the fifth least similar to it | 20% | " in page


STAND_IN = """
import faiss, json, numpy, pathlib

def build_index(*, embeddings, index_path, index_infos_path, metric_type, **limits):
    rows = numpy.concatenate([numpy.load(file) for file in sorted(pathlib.Path(embeddings).iterdir())])
    index = faiss.index_factory(rows.shape[1], "IVF1,Flat", faiss.METRIC_INNER_PRODUCT)
    index.train(rows)
    index.add(rows)
    faiss.write_index(index, index_path)
    return index, {"index_key": "IVF1,Flat", "index_param": "nprobe=1"}
"""


class Missing(Babelclip):
    name = "missing"

    def build(self, queries: Sequence[FloatArray]) -> None:
        raise ImportError("no module named missing")


@pytest.mark.slow
def test_libraries_are_compared_in_the_same_rounds_and_missing_ones_are_named(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("babelclip.benchmark.search.QUERIES", 20)
    monkeypatch.setattr("benchmarks.search.libraries.ADAPTERS", {"babelclip": Babelclip, "missing": Missing})
    mini = Model.load()
    sample = mini.encode_images(list(drawn_pictures(60)))
    said: list[str] = []
    (row,) = compare_libraries(
        mini, sample, 1000, captions=["a dog", "кот"], folder=tmp_path, rounds=2, left_out=said.append
    )
    assert said == ["missing: no module named missing"]
    assert (row.name, row.ef_search, row.text_ratio) == ("babelclip", None, Measurement(1.0, 1.0, 1.0))
    assert min(row.text_recall, row.image_recall, row.filtered_recall) > 0.9
    assert 0 < row.text_p50_ms.low <= row.text_p95_ms.high
    assert "| babelclip | by query | " in libraries_as_markdown([row], source="made here")


def test_lines_of_ours_are_those_of_the_graph_modules() -> None:
    assert lines_of(Babelclip) > lines_of(Hnswlib) > 0


def test_what_autofaiss_chooses_is_asked_the_same(pair: Model, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("babelclip.benchmark.search.QUERIES", 20)
    (tmp_path / "autofaiss.py").write_text(STAND_IN)
    monkeypatch.setenv("PYTHONPATH", str(tmp_path))
    sample = pair.encode_images(list(drawn_pictures(60)))
    own, other = measure_sizes(
        pair, sample, [500], captions=["a dog", "кот"], baseline=autofaiss_baseline(Path(sys.executable), print)
    )
    assert own.method == "exact search"
    assert other.method == "autofaiss: IVF1,Flat, nprobe=1"
    assert other.vectors == 500
    assert (other.text_recall, other.image_recall) == (own.text_recall, own.image_recall) == (1, 1)
    assert other.file_mib > 0.5 * 500 * sample.shape[1] * 4 / 2**20


def test_an_interpreter_without_autofaiss_is_named_and_left_out(
    pair: Model, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "autofaiss.py").write_text("raise ImportError('no such thing')")
    monkeypatch.setenv("PYTHONPATH", str(tmp_path))
    sample = pair.encode_images(list(drawn_pictures(60)))
    said: list[str] = []
    rows = measure_sizes(
        pair, sample, [200], captions=["a dog"], baseline=autofaiss_baseline(Path(sys.executable), said.append)
    )
    assert [row.method for row in rows] == ["exact search"]
    assert len(said) == 1
    assert said[0].startswith("200 vectors: ")
    assert said[0].endswith("no such thing; autofaiss must be installed there")
