from collections.abc import Iterator
from pathlib import Path

import pytest

from babelclip.catalog.catalog import Catalog
from tests.helpers.clustered import DIMENSION


@pytest.fixture
def catalog(tmp_path: Path) -> Iterator[Catalog]:
    """An empty index file for clustered vectors."""
    opened = Catalog(tmp_path / "p.bc", model_name="m", fingerprint="f" * 64, dimension=DIMENSION)
    yield opened
    opened.close()


@pytest.fixture(autouse=True)
def graph_search(monkeypatch: pytest.MonkeyPatch) -> None:
    """Searches the graph even where it is so small that a scan would be faster."""
    monkeypatch.setattr("babelclip.ann.hnsw.NODE_COST", 0)
