"""Filters: which photos a search may find, written as ``folder:holiday AND (camera:Canon OR tag:cat) AND date<2020``.

A filter becomes a condition on the catalog's tables, with every value as a parameter; nothing of what a person writes
gets into SQL. A comparison with a fact that a photo does not have is false, and so is true after NOT.
"""

import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

from babelclip.errors import InputError
from babelclip.query.expressions import pointing
from babelclip.text.normalize import small_letters

MOST_CHARACTERS = 4000
UNITS = {"": 1, "b": 1, "kb": 1000, "mb": 10**6, "gb": 10**9}
ORIENTATIONS = {"landscape": "width > height", "portrait": "width < height", "square": "width = height"}
KINDS = ("image", "video")
_COMPARISONS = ("<=", ">=", "!=", "<", ">", "=", ":")


@dataclass(frozen=True, slots=True)
class Filter:
    """A condition on ``photos JOIN contents ON contents.id = content``, and what its placeholders stand for."""

    condition: str
    parameters: tuple[Any, ...]


Compiler = Callable[[str, str], tuple[str, tuple[Any, ...]]]


@dataclass(frozen=True, slots=True)
class Dialect:
    """A language that filters are turned into: a compiler a field, and what makes a comparison whole.

    AND, OR, NOT and brackets are the same in all of them.
    """

    fields: Mapping[str, Compiler]
    whole: str


def read_filter(text: str, dialect: "Dialect | None" = None) -> Filter:
    """A filter that a person wrote.

    :param text: comparisons such as ``camera:Canon``, ``width>=3000``, joined by AND, OR, NOT and brackets
    :param dialect: what it is turned into; None is SQL on the catalog
    :return: the filter
    :raises InputError: if it cannot be read; the message points at the place
    """
    import pyparsing as pp

    dialect = dialect or SQL

    if not text.strip():
        raise InputError("the filter is empty")
    if len(text) > MOST_CHARACTERS:
        raise InputError(f"the filter has {len(text)} characters, the limit is {MOST_CHARACTERS}")
    try:
        (found,) = _grammar(dialect).parse_string(text, parse_all=True)
    except pp.ParseFatalException as error:
        raise InputError(pointing(text, error.loc, error.msg)) from None
    except pp.ParseBaseException as error:
        known = ", ".join(dialect.fields)
        raise InputError(
            pointing(text, error.loc, f"expected FIELD:VALUE joined by AND, OR, NOT (fields: {known}), not this")
        ) from None
    except RecursionError:
        raise InputError("the filter has too many brackets within brackets") from None
    return Filter(found.condition, found.parameters)


def _grammar(dialect: Dialect) -> Any:
    import pyparsing as pp

    quoted = pp.QuotedString('"', esc_char="\\", unquote_results=True) | pp.QuotedString("'", unquote_results=True)
    value = quoted | pp.Regex(r"[^\s()\"']+")
    field = pp.Regex(r"[a-z]+", re.IGNORECASE)
    comparison = (field("field") + pp.one_of(_COMPARISONS)("sign") + value("value")).set_parse_action(
        lambda text, place, found: _comparison(dialect, text, place, found)
    )
    levels = [
        (pp.CaselessKeyword("NOT"), 1, pp.OpAssoc.RIGHT, _negated),
        (pp.CaselessKeyword("AND"), 2, pp.OpAssoc.LEFT, lambda found: _joined("AND", found)),
        (pp.CaselessKeyword("OR"), 2, pp.OpAssoc.LEFT, lambda found: _joined("OR", found)),
    ]
    return pp.infix_notation(comparison, levels)  # type: ignore[no-untyped-call]


def _comparison(dialect: Dialect, text: str, place: int, found: Any) -> Filter:
    """One comparison."""
    import pyparsing as pp

    field, sign, value = found["field"].lower(), found["sign"], found["value"]
    if field not in dialect.fields:
        known = ", ".join(dialect.fields)
        raise pp.ParseFatalException(text, place, f"there is no field {field!r}; fields are {known};")
    try:
        condition, parameters = dialect.fields[field]("=" if sign == ":" else sign, value)
    except InputError as error:
        raise pp.ParseFatalException(text, place, f"{field}: {error};") from None
    return Filter(dialect.whole.format(condition), parameters)


def _negated(found: Any) -> Filter:
    *nots, inner = found[0]
    return Filter(f"NOT {inner.condition}", inner.parameters) if len(nots) % 2 else inner


def _joined(word: str, found: Any) -> Filter:
    parts = found[0][::2]
    condition = f" {word} ".join(part.condition for part in parts)
    return Filter(f"({condition})", tuple(value for part in parts for value in part.parameters))


def equal_only(sign: str) -> str:
    """NOT, where the sign is !=; other signs do not fit words.

    :param sign: the sign of a comparison
    :return: "NOT " or nothing
    :raises InputError: if words cannot be compared so
    """
    if sign not in ("=", "!="):
        raise InputError(f"words are compared by : or !=, not {sign}")
    return "NOT " if sign == "!=" else ""


def _folder(sign: str, value: str) -> tuple[str, tuple[Any, ...]]:
    """A folder by its name anywhere in the path, or an absolute one; all below it counts."""
    begin = "/" if value.startswith("/") else "%/"
    inner = value.strip("/")
    if not inner.isascii():
        found = f"{begin.strip('%')}{small_letters(inner)}/"
        at = "= 1" if begin == "/" else "> 0"
        return f"{equal_only(sign)}(instr(small_letters(folder || '/'), ?) {at})", (found,)
    pattern = f"{begin}{like(inner)}/%" if inner else "/%"
    return rf"{equal_only(sign)}(folder || '/') LIKE ? ESCAPE '\'", (pattern,)


def _contains(column: str) -> Compiler:
    """A word anywhere in a column, without regard to case, of which LIKE knows ASCII's alone."""

    def compile_contains(sign: str, value: str) -> tuple[str, tuple[Any, ...]]:
        if not value.isascii():
            return f"{equal_only(sign)}(instr(small_letters({column}), ?) > 0)", (small_letters(value),)
        return rf"{equal_only(sign)}{column} LIKE ? ESCAPE '\'", (f"%{like(value)}%",)

    return compile_contains


def _tag(sign: str, value: str) -> tuple[str, tuple[Any, ...]]:
    same = "tag = ? COLLATE NOCASE" if value.isascii() else "small_letters(tag) = ?"
    query = f"EXISTS (SELECT 1 FROM tags WHERE tags.content = contents.id AND {same})"
    return equal_only(sign) + query, (value if value.isascii() else small_letters(value),)


def _date(sign: str, value: str) -> tuple[str, tuple[Any, ...]]:
    """A year, month, day or minute, compared as far as it goes: ``date>2020`` begins with 2021."""
    value = read_date(value)
    return f"substr(taken_at, 1, {len(value)}) {sign} ?", (value,)


def read_date(value: str) -> str:
    """A date as far as it goes.

    :param value: what was written
    :return: the same, as ISO 8601
    :raises InputError: if it is none
    """
    if not re.fullmatch(r"\d{4}(-\d\d(-\d\d(T\d\d:\d\d)?)?)?", value):
        raise InputError(f"{value!r} is not a date such as 2020, 2020-05, 2020-05-31 or 2020-05-31T18:05")
    return value


def _number(column: str) -> Compiler:
    def compile_number(sign: str, value: str) -> tuple[str, tuple[Any, ...]]:
        return f"{column} {sign} ?", (read_number(value),)

    return compile_number


def read_number(value: str) -> float:
    """A number.

    :param value: what was written
    :return: the number
    :raises InputError: if it is none
    """
    if not re.fullmatch(r"\d{1,15}(\.\d{1,6})?", value):
        raise InputError(f"{value!r} is not a number")
    return float(value)


def _bytes(sign: str, value: str) -> tuple[str, tuple[Any, ...]]:
    return f"photos.size {sign} ?", (read_bytes(value),)


def read_bytes(value: str) -> float:
    """A size of files.

    :param value: what was written, such as 3MB
    :return: bytes
    :raises InputError: if it is none
    """
    found = re.fullmatch(r"(\d{1,15}(?:\.\d{1,6})?)\s*([kmg]?b?)", value.lower())
    unit = found and found[2] + ("" if found[2][-1:] in ("", "b") else "b")
    if not found or unit not in UNITS:
        raise InputError(f"{value!r} is not a size such as 500KB, 3MB or 1.5GB")
    return float(found[1]) * UNITS[unit]


def choice(known: Mapping[str, str]) -> Compiler:
    """A compiler of a field that has a few values.

    :param known: the condition that each value stands for
    :return: the compiler
    """

    def compile_choice(sign: str, value: str) -> tuple[str, tuple[Any, ...]]:
        if value.lower() not in known:
            raise InputError(f"{value!r} is not one of {', '.join(known)}")
        return f"{equal_only(sign)}({known[value.lower()]})", ()

    return compile_choice


def like(value: str) -> str:
    r"""A text as a part of a LIKE pattern that has no wildcards of its own; the escape is ``\``.

    :param value: any text
    :return: the same, with what LIKE would take for a wildcard escaped
    """
    return re.sub(r"([%_\\])", r"\\\1", value)


_FIELDS: dict[str, Compiler] = {
    "folder": _folder,
    "name": _contains("path"),
    "date": _date,
    "camera": _contains("camera"),
    "caption": _contains("caption"),
    "tag": _tag,
    "size": _bytes,
    "width": _number("width"),
    "height": _number("height"),
    "megapixels": _number("(width * height / 1e6)"),
    "orientation": choice(ORIENTATIONS),
    "kind": choice({kind: f"kind = '{kind}'" for kind in KINDS}),
    "favourite": choice({"yes": "favourite = 1", "no": "favourite = 0"}),
    "place": choice({"known": "latitude IS NOT NULL", "unknown": "latitude IS NULL"}),
}
SQL = Dialect(_FIELDS, "coalesce(({}), 0)")
"""NULL, a fact that is not there, is made false so that NOT turns it round."""
