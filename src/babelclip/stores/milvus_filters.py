"""Filters as conditions of Milvus; the language and its fields are those of filters.py."""

import re
from typing import Any

from babelclip.query.filters import (
    KINDS,
    ORIENTATIONS,
    Compiler,
    Dialect,
    choice,
    equal_only,
    read_bytes,
    read_date,
    read_filter,
    read_number,
)
from babelclip.text.normalize import small_letters

_SIGNS = {"=": "=="}
_WILD = re.compile(r"[%_\\]")
_ESCAPES = str.maketrans({"\\": "\\\\", '"': '\\"', "\n": "\\n", "\r": "\\r", "\t": "\\t"})


def read_milvus_filter(text: str) -> str:
    """A filter that a person wrote, as Milvus reads it.

    :param text: comparisons such as ``camera:Canon``, ``width>=3000``, joined by AND, OR, NOT and brackets
    :return: a boolean expression on the columns of stores/milvus.py
    :raises InputError: if it cannot be read; the message points at the place
    """
    return read_filter(text, MILVUS).condition


def quoted(text: str) -> str:
    """A text as a literal of Milvus' expressions.

    :param text: any text
    :return: the same in quotes, with what would end them escaped
    """
    return f'"{text.translate(_ESCAPES)}"'


def _like(column: str, before: str, value: str, after: str) -> str:
    """A LIKE around a value; columns of words are in small letters.

    Engines differ on how wildcards are escaped, so what would have to be escaped stands for any letter.
    """
    return f"{column} like {quoted(before + _WILD.sub('_', small_letters(value)) + after)}"


def _negation(sign: str) -> str:
    return equal_only(sign).lower()


def _folder(sign: str, value: str) -> tuple[str, tuple[Any, ...]]:
    """A folder by its name anywhere in the path, or an absolute one; all below it counts."""
    before = "/" if value.startswith("/") else "%/"
    inner = value.strip("/")
    pattern = _like("folder", before, inner, "/%") if inner else _like("folder", "/", "", "%")
    return f"{_negation(sign)}({pattern})", ()


def _contains(column: str) -> Compiler:
    """A word anywhere in a column; one that says nothing has no words, and is not compared."""

    def compile_contains(sign: str, value: str) -> tuple[str, tuple[Any, ...]]:
        return f'{column} != "" and {_negation(sign)}({_like(column, "%", value, "%")})', ()

    return compile_contains


def _tag(sign: str, value: str) -> tuple[str, tuple[Any, ...]]:
    return f"{_negation(sign)}(array_contains(tags, {quoted(small_letters(value))}))", ()


def _date(sign: str, value: str) -> tuple[str, tuple[Any, ...]]:
    """A year, month, day or minute, compared as far as it goes: all that begins so is equal to it."""
    begins = _like("taken_at", "", read_date(value), "%").replace(value.lower(), value)
    after, before = f"taken_at > {quoted(value)}", f"taken_at < {quoted(value)}"
    compared = {
        "=": begins,
        "!=": f"not ({begins})",
        "<": before,
        "<=": f"({before} or {begins})",
        ">": f"{after} and not ({begins})",
        ">=": f"({after} or {begins})",
    }
    return f'taken_at != "" and {compared[sign]}', ()


def _number(column: str, scale: float = 1) -> Compiler:
    """A number that is known: -1 stands for those that are not."""

    def compile_number(sign: str, value: str) -> tuple[str, tuple[Any, ...]]:
        return f"{column} >= 0 and {column} {_SIGNS.get(sign, sign)} {read_number(value) * scale!r}", ()

    return compile_number


def _bytes(sign: str, value: str) -> tuple[str, tuple[Any, ...]]:
    return f"size {_SIGNS.get(sign, sign)} {read_bytes(value)!r}", ()


_ORIENTATION = choice({name: f'orientation == "{name}"' for name in ORIENTATIONS})


def _orientation(sign: str, value: str) -> tuple[str, tuple[Any, ...]]:
    return f'orientation != "" and {_ORIENTATION(sign, value)[0]}', ()


MILVUS = Dialect(
    {
        "folder": _folder,
        "name": _contains("name"),
        "date": _date,
        "camera": _contains("camera"),
        "caption": _contains("caption"),
        "tag": _tag,
        "size": _bytes,
        "width": _number("width"),
        "height": _number("height"),
        "megapixels": _number("pixels", 1e6),
        "orientation": _orientation,
        "kind": choice({kind: f'kind == "{kind}"' for kind in KINDS}),
        "favourite": choice({"yes": "favourite == true", "no": "favourite == false"}),
        "place": choice({"known": "placed == true", "unknown": "placed == false"}),
    },
    "({})",
)
