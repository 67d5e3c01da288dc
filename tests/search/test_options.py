from dataclasses import FrozenInstanceError
from typing import Any

import pytest

from babelclip.errors import InputError
from babelclip.search.options import SearchOptions


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"k": 0}, "k must be at least 1, not 0"),
        ({"page": 0}, "page must be at least 1, not 0"),
        ({"page": 1001}, "page 1001 of 10 is beyond hit 10000"),
        ({"page": 201, "grouped": True}, "beyond hit 2000"),
        ({"page": 201, "diversity": 0.1}, "beyond hit 2000"),
        ({"page": 201, "queries_like": ("a cat",)}, "beyond hit 2000"),
        ({"diversity": 2}, "diversity must be 0 to 1, not 2"),
        ({"diversity": float("nan")}, "diversity must be 0 to 1, not nan"),
        ({"language": "tlh"}, "language 'tlh' is not known; known are "),
    ],
)
def test_options_out_of_range_are_errors(options: dict[str, Any], message: str) -> None:
    with pytest.raises(InputError, match=message):
        SearchOptions(**options)


def test_options_at_their_limits_are_valid_and_frozen() -> None:
    deepest = SearchOptions(k=10, page=1000, diversity=0.0, language="de")
    assert not deepest.reranked
    assert SearchOptions(k=10, page=200, grouped=True, diversity=1).reranked
    with pytest.raises(FrozenInstanceError):
        deepest.k = 3  # type: ignore[misc]
