from pathlib import Path

import numpy as np
import pytest

from babelclip.benchmark.search import FEWEST_VECTORS, measure_index, measure_sizes
from babelclip.benchmark.synthetic_vectors import drawn_pictures, fill, made_vectors
from babelclip.catalog.catalog import Catalog
from babelclip.errors import InputError
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
    monkeypatch.setattr("babelclip.benchmark.search.QUERIES", 20)
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


def filled_index(path: Path, model: Model, count: int) -> Path:
    catalog = Catalog(path, model_name=model.name, fingerprint=model.fingerprint, dimension=model.dimension)
    fill(catalog, made_vectors(model.encode_images(list(drawn_pictures(60))), count))
    catalog.close()
    return path


def test_an_index_is_measured_as_it_is_and_gets_no_graph(
    pair: Model, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("babelclip.benchmark.search.QUERIES", 20)
    path = filled_index(tmp_path / "photos.bc", pair, FEWEST_VECTORS)
    row = measure_index(path, pair, captions=["a dog", "кот"])
    assert (row.vectors, row.method, row.build_seconds, row.file_mib) == (FEWEST_VECTORS, "exact search", 0, 0)
    assert (row.text_recall, row.image_recall) == (1, 1)
    assert not list(tmp_path.glob("*.neighbours"))


def test_an_index_with_few_vectors_is_refused(pair: Model, tmp_path: Path) -> None:
    path = filled_index(tmp_path / "photos.bc", pair, FEWEST_VECTORS - 1)
    with pytest.raises(InputError, match="has 99 vectors; the measurement needs at least 100"):
        measure_index(path, pair, captions=["a dog"])
