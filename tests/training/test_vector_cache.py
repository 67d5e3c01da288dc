"""Tests of the cache of text vectors."""

from collections.abc import Sequence
from pathlib import Path

import numpy as np
import pytest

from babelclip.errors import DataError
from babelclip.training.vector_cache import VectorCache
from babelclip.vectors import FloatArray


class TestVectorCache:
    def encode(self, texts: Sequence[str]) -> FloatArray:
        self.asked = [*getattr(self, "asked", []), *texts]
        return np.array([[len(text), 1] for text in texts], dtype=np.float32)

    def test_vectors_are_computed_once(self, tmp_path: Path) -> None:
        cache = VectorCache(tmp_path, 2)
        assert cache.add(["a", "bb", "a"], self.encode) == 2
        again = VectorCache(tmp_path, 2)
        assert again.add(["bb", "ccc"], self.encode) == 1
        assert self.asked == ["a", "bb", "ccc"]
        assert again.take(["ccc", "a"]).tolist() == [[3, 1], [1, 1]]

    def test_an_incomplete_write_is_truncated(self, tmp_path: Path) -> None:
        VectorCache(tmp_path, 2).add(["a", "bb"], self.encode)
        with (tmp_path / "vectors").open("ab") as file:
            file.write(b"\x00" * 11)
        with (tmp_path / "keys").open("ab") as file:
            file.write(b"\x00" * 5)
        cache = VectorCache(tmp_path, 2)
        assert cache.add(["ccc"], self.encode) == 1
        assert cache.take(["bb", "ccc"]).tolist() == [[2, 1], [3, 1]]

    def test_a_text_without_a_vector_is_named(self, tmp_path: Path) -> None:
        with pytest.raises(DataError, match="'lost'"):
            VectorCache(tmp_path, 2).take(["lost"])
