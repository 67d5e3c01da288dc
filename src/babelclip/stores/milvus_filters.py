"""Filters compiled to boolean expressions of Milvus on the columns of stores/milvus.py.

Text columns hold lower-case text; "" and -1 stand for metadata that is missing, which no comparison matches.
"""

import re
from collections.abc import Callable, Mapping
from typing import Any

from babelclip.query.filters import Compare, Filter, fold
from babelclip.text.normalize import normalize_text

_WILDCARD = re.compile(r"[%_\\]")
_ESCAPES = str.maketrans({"\\": "\\\\", '"': '\\"', "\n": "\\n", "\r": "\\r", "\t": "\\t"})


def compile_filter(tree: Filter) -> str:
    """Compile a filter to an expression of Milvus.

    :param tree: the filter
    :return: a boolean expression on the columns of stores/milvus.py
    """
    return fold(
        tree,
        compare=lambda comparison: f"({_compare(comparison)})",
        negate=lambda operand: f"NOT {operand}",
        join=lambda operator, operands: f"({f' {operator} '.join(operands)})",
    )


def quoted(text: str) -> str:
    """Quote a text as a string literal of Milvus' expressions.

    :param text: any text
    :return: the literal, with quotes, backslashes and line breaks escaped
    """
    return f'"{text.translate(_ESCAPES)}"'


_Compiler = Callable[[str, Any], str]


def _compare(comparison: Compare) -> str:
    return _COMPILERS[comparison.field](comparison.sign, comparison.value)


def _like(column: str, before: str, text: str, after: str) -> str:
    """Compile a LIKE pattern around a text.

    Versions of Milvus differ on how wildcards are escaped, so each wildcard in the text becomes "any character".
    """
    return f"{column} like {quoted(before + _WILDCARD.sub('_', text) + after)}"


def _negation(sign: str) -> str:
    return "not " if sign == "!=" else ""


def _operator(sign: str) -> str:
    return "==" if sign == "=" else sign


def _folder(sign: str, value: str) -> str:
    """Compile a folder name anywhere in the path, or an absolute folder; subfolders match too."""
    before = "/" if value.startswith("/") else "%/"
    inner = normalize_text(value.strip("/"))
    pattern = _like("folder", before, inner, "/%") if inner else _like("folder", "/", "", "%")
    return f"{_negation(sign)}({pattern})"


def _contains(column: str) -> _Compiler:
    """Compile a substring, ignoring case."""
    return lambda sign, value: f'{column} != "" and {_negation(sign)}({_like(column, "%", normalize_text(value), "%")})'


def _tag(sign: str, value: str) -> str:
    """Compile a whole tag, ignoring case."""
    return f"{_negation(sign)}(array_contains(tags, {quoted(normalize_text(value))}))"


def _date(sign: str, value: str) -> str:
    """Compile a date, compared to the precision that was written: a date with that prefix is equal to it."""
    equal = _like("taken_at", "", value, "%")
    after, before = f"taken_at > {quoted(value)}", f"taken_at < {quoted(value)}"
    expressions = {
        "=": equal,
        "!=": f"not ({equal})",
        "<": before,
        "<=": f"({before} or {equal})",
        ">": f"{after} and not ({equal})",
        ">=": f"({after} or {equal})",
    }
    return f'taken_at != "" and {expressions[sign]}'


def _number(column: str, scale: float = 1) -> _Compiler:
    """Compile a number; ``scale`` converts the field's unit to the column's."""
    return lambda sign, value: f"{column} >= 0 and {column} {_operator(sign)} {value * scale!r}"


def _orientation(sign: str, value: str) -> str:
    return f'orientation != "" and {_negation(sign)}(orientation == {quoted(value)})'


def _choice(expressions: Mapping[str, str]) -> _Compiler:
    """Compile a field with a few values, given the expression of each."""
    return lambda sign, value: f"{_negation(sign)}({expressions[value]})"


_COMPILERS: Mapping[str, _Compiler] = {
    "folder": _folder,
    "name": _contains("name"),
    "date": _date,
    "camera": _contains("camera"),
    "caption": _contains("caption"),
    "tag": _tag,
    "size": lambda sign, value: f"size {_operator(sign)} {value!r}",
    "width": _number("width"),
    "height": _number("height"),
    "megapixels": _number("pixels", 1e6),
    "orientation": _orientation,
    "kind": _choice({"image": 'kind == "image"', "video": 'kind == "video"'}),
    "favourite": _choice({"yes": "favourite == true", "no": "favourite == false"}),
    "place": _choice({"known": "placed == true", "unknown": "placed == false"}),
}
