import sys
from pathlib import Path

import numpy as np
import pytest

from babelclip.benchmark.made_collections import drawn_pictures, made_vectors
from babelclip.benchmark.neighbours import as_markdown, measure_sizes
from babelclip.models.model import Model
from babelclip.stores import graph_maintenance
from babelclip.vectors import unit_rows


def test_made_vectors_keep_the_spectrum_within_a_tenth_and_come_from_their_seed() -> None:
    rng = np.random.default_rng(0)
    widths = 0.8 ** np.arange(32)
    sample = unit_rows((rng.standard_normal((300, 32)) * widths + 0.3).astype(np.float32))
    made = np.concatenate(list(made_vectors(sample, 25_000)))
    assert made.shape == (25_000, 32)
    np.testing.assert_allclose(np.linalg.norm(made, axis=1), 1, atol=1e-4)
    np.testing.assert_array_equal(made, np.concatenate(list(made_vectors(sample, 25_000))))
    own, other = (np.linalg.eigvalsh(np.cov(rows.T))[::-1] for rows in (sample, made))
    np.testing.assert_allclose(np.cumsum(other)[:8] / other.sum(), np.cumsum(own)[:8] / own.sum(), atol=0.1)


@pytest.mark.slow
def test_sizes_are_measured_by_both_methods(pair: Model, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(graph_maintenance, "EXACT_UP_TO", 1000)
    monkeypatch.setattr("babelclip.benchmark.neighbours.QUERIES", 20)
    sample = pair.encode_images(list(drawn_pictures(60)))
    rows = measure_sizes(pair, sample, [500, 1500], captions=["a dog", "ein Hund", "кот"])
    assert rows[0].method == "exact search"
    assert rows[1].method.startswith("graph")
    for row in rows:
        assert row.text_recall > 0.9
        assert 0 < row.text_p50_ms <= row.text_p95_ms
        assert row.image_p50_ms > 0
    assert rows[0].filtered == ()
    for one in rows[1].filtered:
        assert one.text_recall > 0.9
        assert one.image_recall > 0.9
        assert min(one.text_p50_ms, one.image_p50_ms) > 0
    assert [round(one.share, 1) for one in rows[1].filtered] == [0.5, 0.1, 0.2, 0.2]
    page = as_markdown(rows, source="made here")
    assert "| 1,500 | graph" in page
    assert "| 1,500 | the fifth least similar to it | 20% | " in page
    assert "filter" not in as_markdown(rows[:1], source="made here")


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


def test_what_autofaiss_chooses_is_asked_the_same(pair: Model, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("babelclip.benchmark.neighbours.QUERIES", 20)
    (tmp_path / "autofaiss.py").write_text(STAND_IN)
    monkeypatch.setenv("PYTHONPATH", str(tmp_path))
    sample = pair.encode_images(list(drawn_pictures(60)))
    own, other = measure_sizes(pair, sample, [500], captions=["a dog", "кот"], autofaiss=Path(sys.executable))
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
    rows = measure_sizes(pair, sample, [200], captions=["a dog"], autofaiss=Path(sys.executable), left_out=said.append)
    assert [row.method for row in rows] == ["exact search"]
    assert len(said) == 1
    assert said[0].startswith("200 vectors: ")
    assert said[0].endswith("no such thing; autofaiss must be installed there")
