from pathlib import Path

import numpy as np
import pytest

from babelclip.ann.vector_file import VectorFile
from tests.helpers.clustered import clustered


def test_rows_of_a_file_are_read_as_they_are(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    vectors = clustered(0, 3000).astype(np.float16)
    np.save(tmp_path / "vectors.npy", vectors)
    file = VectorFile(tmp_path / "vectors.npy")
    rows = np.array([2999, 0, 17, 17])
    np.testing.assert_array_equal(file[rows], vectors[rows])
    many = np.arange(2500)
    np.testing.assert_array_equal(file[many], vectors[many])
    with pytest.raises(IndexError, match="no row 3000"):
        file[np.array([3000])]
    monkeypatch.delattr("os.preadv")
    np.testing.assert_array_equal(file[rows], vectors[rows])


@pytest.mark.skipif(not Path("/proc/self/smaps").exists(), reason="only Linux says what is resident")
def test_reading_a_few_rows_leaves_a_file_out_of_resident_memory(tmp_path: Path) -> None:
    path = tmp_path / "vectors.npy"
    np.save(path, np.ones((20_000, 128), np.float16))
    file = VectorFile(path)
    for start in range(0, 20_000, 500):
        file[np.arange(start, start + 500)]
    assert resident_kib(path) < 200
    assert file[np.arange(20_000)].all()
    assert resident_kib(path) > 4000


def resident_kib(path: Path) -> int:
    mappings = Path("/proc/self/smaps").read_text().split(str(path))[1:]
    return sum(int(mapping.split("Rss:")[1].split()[0]) for mapping in mappings)
