"""Tests of teachers and their ensembles."""

from pathlib import Path

import numpy as np
import pytest

from babelclip.errors import DataError, InputError
from babelclip.models.model import Model
from babelclip.training.teacher import Ensemble, read_vectors
from babelclip.vectors import unit_rows


def test_an_ensemble_averages_cosines() -> None:
    rng = np.random.default_rng(0)
    parts = [rng.standard_normal((400, d)).astype(np.float32) for d in (6, 5)]
    ensemble = Ensemble.fit(parts, [3, 1], 11)
    joined = ensemble.join(parts)
    centred = [unit_rows(unit_rows(part) - mean) for part, mean in zip(parts, ensemble.means, strict=True)]
    wanted = 0.75 * centred[0] @ centred[0].T + 0.25 * centred[1] @ centred[1].T
    assert np.allclose(joined @ joined.T, wanted, atol=1e-5)
    assert Ensemble.fit(parts, [3, 1], 4).rotation.shape == (11, 4)
    with pytest.raises(InputError, match="11 dimensions"):
        Ensemble.fit(parts, [3, 1], 12)


def test_precomputed_vectors_are_read_from_parquet(pair: Model, tmp_path: Path) -> None:
    import pyarrow as pa
    import pyarrow.parquet as pq

    pq.write_table(pa.table({"text": ["a", "b"], "vector": [[1.0, 2.0], [3.0, 4.0]]}), tmp_path / "v.parquet")
    texts, vectors = read_vectors(tmp_path / "v.parquet")
    assert texts == ["a", "b"]
    assert vectors.tolist() == [[1, 2], [3, 4]]
    with pytest.raises(DataError, match="Parquet"):
        read_vectors(tmp_path / "none.parquet")
