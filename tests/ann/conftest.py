import pytest


@pytest.fixture(autouse=True)
def graph_search(monkeypatch: pytest.MonkeyPatch) -> None:
    """Searches the graph even where it is so small that a scan would be faster."""
    monkeypatch.setattr("babelclip.ann.hnsw.NODE_COST", 0)
