from collections.abc import Iterator
from pathlib import Path

import pytest

from babelclip.models.model import Model
from babelclip.search.index import Index


@pytest.fixture
def index(tmp_path: Path, pair: Model) -> Iterator[Index]:
    with Index.open(tmp_path / "photos.bc", pair) as opened:
        yield opened
