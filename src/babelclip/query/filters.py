"""Filter language: parse ``folder:holiday AND (camera:Canon OR tag:cat) AND date<2020`` to a syntax tree.

The tree holds typed values and knows no store: each store compiles it (``stores/sqlite_filters.py``,
``stores/milvus_filters.py``). A comparison with metadata that a photo does not have is false, so its negation is true.
"""

import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Literal, TypeVar

from babelclip.errors import InputError
from babelclip.query.expressions import pointing

MAX_CHARACTERS = 4000
MAX_DEPTH = 20
"""AND, OR and NOT within each other. SQLite 3.40 parses 26 of AND and OR in turn before its parser stack overflows."""
BYTES_PER_UNIT = {"": 1, "b": 1, "kb": 1000, "mb": 10**6, "gb": 10**9}

Sign = Literal["=", "!=", "<", "<=", ">", ">="]
Value = str | float
EQUALITY: tuple[Sign, ...] = ("=", "!=")
ORDER: tuple[Sign, ...] = ("=", "!=", "<", "<=", ">", ">=")
# Longer ones first: "<=" must not be read as "<". ":" is another spelling of "=".
_WRITTEN_SIGNS = ("<=", ">=", "!=", "<", ">", "=", ":")


@dataclass(frozen=True, slots=True)
class Compare:
    """A comparison of a field of ``FIELDS`` with a value; the field's type says what the value is."""

    field: str
    sign: Sign
    value: Value


@dataclass(frozen=True, slots=True)
class Not:
    """The negation of a filter."""

    operand: "Filter"


@dataclass(frozen=True, slots=True)
class And:
    """All of at least two filters."""

    operands: "tuple[Filter, ...]"


@dataclass(frozen=True, slots=True)
class Or:
    """Any of at least two filters."""

    operands: "tuple[Filter, ...]"


Filter = Compare | Not | And | Or
Result = TypeVar("Result")


@dataclass(frozen=True, slots=True)
class FieldType:
    """The type of a field: the signs it is compared by, and ``read``, which turns written text into its value.

    ``read`` raises InputError if the text is not of the type.
    """

    signs: tuple[Sign, ...]
    read: Callable[[str], Value]


def read_filter(text: str) -> Filter:
    """Parse a filter.

    :param text: comparisons such as ``camera:Canon``, ``width>=3000``, joined by AND, OR, NOT and brackets
    :return: the syntax tree
    :raises InputError: if it cannot be parsed; the message points at the position
    """
    import pyparsing as pp

    if not text.strip():
        raise InputError("the filter is empty")
    if len(text) > MAX_CHARACTERS:
        raise InputError(f"the filter has {len(text)} characters, the limit is {MAX_CHARACTERS}")
    try:
        (parsed,) = _grammar().parse_string(text, parse_all=True)
    except pp.ParseFatalException as error:
        raise InputError(pointing(text, error.loc, error.msg)) from None
    except pp.ParseBaseException as error:
        fields = ", ".join(FIELDS)
        raise InputError(
            pointing(text, error.loc, f"expected FIELD:VALUE joined by AND, OR, NOT (fields: {fields}), not this")
        ) from None
    except RecursionError:
        raise InputError("the filter has too many brackets within brackets") from None
    tree: Filter = parsed
    _check_depth(tree)
    return tree


def _check_depth(tree: Filter) -> None:
    """Refuse a tree that a store could not compile."""
    level, depth = [tree], 0
    while level := [operand for node in level for operand in _operands(node)]:
        depth += 1
        if depth > MAX_DEPTH:
            raise InputError(f"the filter has more than {MAX_DEPTH} levels of AND, OR and NOT within brackets")


def _operands(tree: Filter) -> "tuple[Filter, ...]":
    """The operands of a node; a comparison has none."""
    if isinstance(tree, Compare):
        return ()
    return (tree.operand,) if isinstance(tree, Not) else tree.operands


def fold(
    tree: Filter,
    compare: Callable[[Compare], Result],
    negate: Callable[[Result], Result],
    join: Callable[[Literal["AND", "OR"], Sequence[Result]], Result],
) -> Result:
    """Compute a value from a syntax tree, from the comparisons up.

    :param tree: the syntax tree
    :param compare: gives the value of a comparison
    :param negate: gives the value of a negation from that of its operand
    :param join: gives the value of a conjunction or disjunction from those of its operands
    :return: the value of the whole tree
    """
    if isinstance(tree, Compare):
        return compare(tree)
    results = [fold(operand, compare, negate, join) for operand in _operands(tree)]
    if isinstance(tree, Not):
        return negate(results[0])
    return join("AND" if isinstance(tree, And) else "OR", results)


def _grammar() -> Any:
    """The grammar; NOT binds tighter than AND, and AND tighter than OR."""
    import pyparsing as pp

    quoted = pp.QuotedString('"', esc_char="\\", unquote_results=True) | pp.QuotedString("'", unquote_results=True)
    value = quoted | pp.Regex(r"[^\s()\"']+")
    field = pp.Regex(r"[a-z]+", re.IGNORECASE)
    comparison = field("field") + pp.one_of(_WRITTEN_SIGNS)("sign") + value("value")
    comparison.set_parse_action(_comparison)
    levels = [
        (pp.CaselessKeyword("NOT"), 1, pp.OpAssoc.RIGHT, _negation),
        (pp.CaselessKeyword("AND"), 2, pp.OpAssoc.LEFT, lambda tokens: And(tuple(tokens[0][::2]))),
        (pp.CaselessKeyword("OR"), 2, pp.OpAssoc.LEFT, lambda tokens: Or(tuple(tokens[0][::2]))),
    ]
    return pp.infix_notation(comparison, levels)  # type: ignore[no-untyped-call]


def _comparison(text: str, position: int, tokens: Any) -> Compare:
    """Type-check a comparison; an error is fatal, so that no other reading of the text is tried."""
    import pyparsing as pp

    name, sign = tokens["field"].lower(), "=" if tokens["sign"] == ":" else tokens["sign"]
    if name not in FIELDS:
        raise pp.ParseFatalException(text, position, f"there is no field {name!r}; fields are {', '.join(FIELDS)};")
    field = FIELDS[name]
    try:
        value = field.read(tokens["value"])
    except InputError as error:
        raise pp.ParseFatalException(text, position, f"{name}: {error};") from None
    if sign not in field.signs:
        raise pp.ParseFatalException(text, position, f"{name}: words are compared by : or !=, not {sign};")
    return Compare(name, sign, value)


def _negation(tokens: Any) -> Filter:
    """Negate an operand once for each NOT; two cancel out."""
    *nots, operand = tokens[0]
    tree: Filter = operand
    for _ in nots:
        tree = tree.operand if isinstance(tree, Not) else Not(tree)
    return tree


def _read_date(text: str) -> str:
    """Read a year, month, day or minute in ISO 8601: as much of a date as was written."""
    if not re.fullmatch(r"\d{4}(-\d\d(-\d\d(T\d\d:\d\d)?)?)?", text):
        raise InputError(f"{text!r} is not a date such as 2020, 2020-05, 2020-05-31 or 2020-05-31T18:05")
    return text


def _read_number(text: str) -> float:
    if not re.fullmatch(r"\d{1,15}(\.\d{1,6})?", text):
        raise InputError(f"{text!r} is not a number")
    return float(text)


def _read_bytes(text: str) -> float:
    """Read a file size such as 3MB, in bytes."""
    match = re.fullmatch(r"(\d{1,15}(?:\.\d{1,6})?)\s*([kmg]?b?)", text.lower())
    unit = match and match[2] + ("" if match[2][-1:] in ("", "b") else "b")
    if not match or unit not in BYTES_PER_UNIT:
        raise InputError(f"{text!r} is not a size such as 500KB, 3MB or 1.5GB")
    return float(match[1]) * BYTES_PER_UNIT[unit]


def _one_of(*values: str) -> FieldType:
    """The type of a field that has a few values."""

    def read(text: str) -> str:
        if text.lower() not in values:
            raise InputError(f"{text!r} is not one of {', '.join(values)}")
        return text.lower()

    return FieldType(EQUALITY, read)


TEXT = FieldType(EQUALITY, str)
DATE = FieldType(ORDER, _read_date)
NUMBER = FieldType(ORDER, _read_number)
FILE_SIZE = FieldType(ORDER, _read_bytes)

FIELDS: Mapping[str, FieldType] = {
    "folder": TEXT,
    "name": TEXT,
    "date": DATE,
    "camera": TEXT,
    "caption": TEXT,
    "tag": TEXT,
    "size": FILE_SIZE,
    "width": NUMBER,
    "height": NUMBER,
    "megapixels": NUMBER,
    "orientation": _one_of("landscape", "portrait", "square"),
    "kind": _one_of("image", "video"),
    "favourite": _one_of("yes", "no"),
    "place": _one_of("known", "unknown"),
}
"""The fields that a filter can name, with their types. Every store compiles each of them."""
