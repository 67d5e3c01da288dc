import pytest

from babelclip.errors import InputError
from babelclip.query.filters import FIELDS, MAX_DEPTH, And, Compare, Filter, Not, Or, fold, read_filter

CAT, SEA = Compare("tag", "=", "cat"), Compare("tag", "=", "sea")


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("tag:cat", CAT),
        ("TAG=cat", CAT),
        ("tag != 'two words'", Compare("tag", "!=", "two words")),
        (r'name:"a\"b"', Compare("name", "=", 'a"b')),
        ("camera:Canon", Compare("camera", "=", "Canon")),
        ("width>=3000", Compare("width", ">=", 3000.0)),
        ("megapixels<1.5", Compare("megapixels", "<", 1.5)),
        ("size>3MB", Compare("size", ">", 3e6)),
        ("size<1k", Compare("size", "<", 1000.0)),
        ("size:7", Compare("size", "=", 7.0)),
        ("date>2019-07", Compare("date", ">", "2019-07")),
        ("orientation:Portrait", Compare("orientation", "=", "portrait")),
        ("favourite!=YES", Compare("favourite", "!=", "yes")),
    ],
)
def test_a_comparison_has_a_value_of_its_fields_type(text: str, expected: Filter) -> None:
    assert read_filter(text) == expected


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("tag:sea OR tag:cat AND width>1", Or((SEA, And((CAT, Compare("width", ">", 1.0)))))),
        ("(tag:sea or tag:cat) and width>1", And((Or((SEA, CAT)), Compare("width", ">", 1.0)))),
        ("tag:sea AND tag:cat AND tag:sea", And((SEA, CAT, SEA))),
        ("not tag:sea and tag:cat", And((Not(SEA), CAT))),
        ("not (tag:sea or tag:cat)", Not(Or((SEA, CAT)))),
        ("not not tag:sea", SEA),
        ("not not not tag:sea", Not(SEA)),
    ],
)
def test_not_binds_tighter_than_and_and_and_tighter_than_or(text: str, expected: Filter) -> None:
    assert read_filter(text) == expected


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("", "the filter is empty"),
        ("colour:red", "no field 'colour'"),
        ("date<yesterday", "'yesterday' is not a date"),
        ("width>big", "'big' is not a number"),
        ("size>5XB", "'5XB' is not a size"),
        ("size>5k5", "'5k5' is not a size"),
        ("tag<cat", "compared by : or !=, not <"),
        ("kind<image", "compared by : or !=, not <"),
        ("orientation:up", "not one of landscape, portrait, square"),
        ("tag:cat AND", "position 12"),
        ("tag:cat tag:dog", "position 9"),
        ("(tag:cat", "position 9"),
        ("tag:" + "a" * 5000, "the limit is 4000"),
    ],
)
def test_an_error_names_what_cannot_be_read(text: str, message: str) -> None:
    with pytest.raises(InputError, match=message):
        read_filter(text)


def test_an_unknown_field_is_answered_with_the_known_ones() -> None:
    with pytest.raises(InputError, match=", ".join(FIELDS)):
        read_filter("colour:red")


def test_as_many_brackets_as_fit_are_read() -> None:
    assert read_filter("(" * 1990 + "tag:a" + ")" * 1990) == Compare("tag", "=", "a")


def test_levels_of_and_or_and_not_have_a_limit() -> None:
    def nested(levels: int) -> str:
        text = "tag:cat"
        for level in range(levels):
            text = f"tag:sea {('AND', 'OR')[level % 2]} ({text})"
        return text

    assert isinstance(read_filter(nested(MAX_DEPTH)), Or)
    with pytest.raises(InputError, match=f"more than {MAX_DEPTH} levels"):
        read_filter(nested(MAX_DEPTH + 1))


def test_a_fold_computes_operands_before_what_joins_them() -> None:
    text = fold(
        read_filter("NOT tag:cat AND (tag:sea OR tag:cat)"),
        compare=lambda comparison: str(comparison.value),
        negate=lambda operand: f"-{operand}",
        join=lambda operator, operands: f"({operator.lower()} {' '.join(operands)})",
    )
    assert text == "(and -cat (or sea cat))"
