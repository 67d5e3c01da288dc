"""Filters compiled to SQL on the tables of an index file; what was written becomes parameters, never SQL."""

import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from babelclip.query.filters import Compare, Filter, fold
from babelclip.text.normalize import normalize_text


@dataclass(frozen=True, slots=True)
class SqlCondition:
    """A condition on ``photos JOIN contents ON contents.id = content``, with the parameters of its placeholders."""

    sql: str
    parameters: tuple[str | float, ...] = ()


NO_CONDITION = SqlCondition("1")


def compile_filter(tree: Filter) -> SqlCondition:
    """Compile a filter to SQL.

    :param tree: the filter
    :return: a condition that is 0 or 1 for every photo, never NULL
    """
    return fold(tree, _compare, _negate, _join)


def _compare(comparison: Compare) -> SqlCondition:
    """Compile a comparison; NULL, metadata that is missing, becomes false before NOT can be applied to it."""
    condition = _COMPILERS[comparison.field](comparison.sign, comparison.value)
    return SqlCondition(f"coalesce(({condition.sql}), 0)", condition.parameters)


def _negate(condition: SqlCondition) -> SqlCondition:
    return SqlCondition(f"NOT {condition.sql}", condition.parameters)


def _join(operator: str, conditions: Sequence[SqlCondition]) -> SqlCondition:
    sql = f" {operator} ".join(condition.sql for condition in conditions)
    return SqlCondition(f"({sql})", tuple(value for condition in conditions for value in condition.parameters))


_Compiler = Callable[[str, Any], SqlCondition]


def _negation(sign: str) -> str:
    return "NOT " if sign == "!=" else ""


def _escaped(text: str) -> str:
    r"""Escape the wildcards of LIKE in a text; the escape character is ``\``."""
    return re.sub(r"([%_\\])", r"\\\1", text)


def _folder(sign: str, value: str) -> SqlCondition:
    """Compile a folder name anywhere in the path, or an absolute folder; subfolders match too."""
    absolute, inner = value.startswith("/"), value.strip("/")
    if not inner.isascii():
        position = "= 1" if absolute else "> 0"
        return SqlCondition(
            f"{_negation(sign)}(instr(normalize_text(folder || '/'), ?) {position})", (f"/{normalize_text(inner)}/",)
        )
    pattern = f"{'/' if absolute else '%/'}{_escaped(inner)}/%" if inner else "/%"
    return SqlCondition(rf"{_negation(sign)}(folder || '/') LIKE ? ESCAPE '\'", (pattern,))


def _contains(column: str) -> _Compiler:
    """Compile a substring, ignoring case. LIKE ignores the case of ASCII letters only, but is faster."""

    def compile_contains(sign: str, value: str) -> SqlCondition:
        if not value.isascii():
            return SqlCondition(f"{_negation(sign)}(instr(normalize_text({column}), ?) > 0)", (normalize_text(value),))
        return SqlCondition(rf"{_negation(sign)}{column} LIKE ? ESCAPE '\'", (f"%{_escaped(value)}%",))

    return compile_contains


def _tag(sign: str, value: str) -> SqlCondition:
    """Compile a whole tag, ignoring case."""
    equal = "tag = ? COLLATE NOCASE" if value.isascii() else "normalize_text(tag) = ?"
    return SqlCondition(
        f"{_negation(sign)}EXISTS (SELECT 1 FROM tags WHERE tags.content = contents.id AND {equal})",
        (value if value.isascii() else normalize_text(value),),
    )


def _date(sign: str, value: str) -> SqlCondition:
    """Compile a date, compared to the precision that was written: ``date>2020`` starts in 2021."""
    return SqlCondition(f"substr(taken_at, 1, {len(value)}) {sign} ?", (value,))


def _number(column: str) -> _Compiler:
    return lambda sign, value: SqlCondition(f"{column} {sign} ?", (value,))


def _choice(conditions: Mapping[str, str]) -> _Compiler:
    """Compile a field with a few values, given the SQL of each."""
    return lambda sign, value: SqlCondition(f"{_negation(sign)}({conditions[value]})")


_COMPILERS: Mapping[str, _Compiler] = {
    "folder": _folder,
    "name": _contains("path"),
    "date": _date,
    "camera": _contains("camera"),
    "caption": _contains("caption"),
    "tag": _tag,
    "size": _number("photos.size"),
    "width": _number("width"),
    "height": _number("height"),
    "megapixels": _number("(width * height / 1e6)"),
    "orientation": _choice({"landscape": "width > height", "portrait": "width < height", "square": "width = height"}),
    "kind": _choice({"image": "kind = 'image'", "video": "kind = 'video'"}),
    "favourite": _choice({"yes": "favourite = 1", "no": "favourite = 0"}),
    "place": _choice({"known": "latitude IS NOT NULL", "unknown": "latitude IS NULL"}),
}
