import numpy as np
import pytest

from babelclip import neighbour_files
from babelclip.benchmark.neighbours import as_markdown, drawn_pictures, made_vectors, measure_sizes
from babelclip.model import Model
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


def test_sizes_are_measured_by_both_methods(pair: Model, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(neighbour_files, "EXACT_UP_TO", 1000)
    monkeypatch.setattr("babelclip.benchmark.neighbours.QUERIES", 20)
    sample = pair.encode_images(list(drawn_pictures(60)))
    rows = measure_sizes(pair, sample, [500, 1500], captions=["a dog", "ein Hund", "кот"])
    assert rows[0].method == "comparing with all"
    assert rows[1].method.startswith("graph")
    for row in rows:
        assert row.text_recall > 0.9
        assert row.p50_ms > 0
    assert "| 1,500 | graph" in as_markdown(rows, source="made here")
