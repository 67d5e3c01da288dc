"""The expressions of filters for Milvus; that they match the same photos as SQL is shown in test_stores.py."""

import pytest

from babelclip.query.filters import FIELDS, read_filter
from babelclip.stores.milvus_filters import compile_filter, quoted


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("tag:CAT", '((array_contains(tags, "cat")))'),
        ("name!=Été", '(name != "" and not (name like "%été%"))'),
        ("name:50%_a", '(name != "" and (name like "%50__a%"))'),
        ("folder:/", '((folder like "/%"))'),
        ("folder!=/A/b/", '(not (folder like "/a/b/%"))'),
        ("width:3", "(width >= 0 and width == 3.0)"),
        ("megapixels>1.5", "(pixels >= 0 and pixels > 1500000.0)"),
        ("NOT favourite:yes", "NOT ((favourite == true))"),
        ("kind:video OR place:known", '(((kind == "video")) OR ((placed == true)))'),
    ],
)
def test_a_filter_becomes_an_expression_of_milvus(text: str, expected: str) -> None:
    assert compile_filter(read_filter(text)) == expected


def test_dates_keep_the_t_of_iso_8601() -> None:
    assert 'like "2019-07-31T18:05%"' in compile_filter(read_filter("date:2019-07-31T18:05"))


def test_quotes_and_backslashes_cannot_end_a_literal() -> None:
    assert quoted('a"b\\c\nd') == '"a\\"b\\\\c\\nd"'
    assert compile_filter(read_filter("""tag:'" or 1 == 1'""")) == '((array_contains(tags, "\\" or 1 == 1")))'


def test_every_field_can_be_compiled() -> None:
    values = {"date": "2020", "orientation": "square", "kind": "video", "favourite": "yes", "place": "known"}
    expressions = {compile_filter(read_filter(f"{field}:{values.get(field, '1')}")) for field in FIELDS}
    assert len(expressions) == len(FIELDS)
