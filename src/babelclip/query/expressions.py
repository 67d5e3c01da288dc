"""Query arithmetic: texts and pictures with signs and weights, such as ``"hond op het strand" + photo.jpg - "mensen"``.

What does not begin with a quoted text or with a picture that exists, followed by a sign or by nothing, is plain text:
``rock - paper`` is looked up as it stands.
"""

import math
import re
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from babelclip.errors import InputError
from babelclip.media.images import ImageInput
from babelclip.text.normalize import is_blank

MOST_TERMS = 64
QUOTES = {'"': '"', "“": "”", "„": "“”", "«": "»", "「": "」"}


@dataclass(frozen=True, slots=True)
class Term:
    """A part of a query: a text or a picture, and its weight; a negative weight leads away from it."""

    item: str | ImageInput
    weight: float = 1.0


def read_expression(query: str) -> tuple[Term, ...]:
    """The terms of a query that a person wrote.

    :param query: plain text, or texts in quotes and names of picture files, joined by + and -, each perhaps with a
        weight before it (``0.5*"snow"``); a file whose name has blanks is written ``file:"my photo.jpg"``
    :return: its terms; plain text is one term
    :raises InputError: if it is blank, or is arithmetic that cannot be read; the message points at the position
    """
    if is_blank(query):
        raise InputError("the query is empty")
    if _looks_plain(query) or not _is_arithmetic(query):
        return (Term(query),)
    import pyparsing

    try:
        parsed = _grammar().parse_string(query, parse_all=True)
    except pyparsing.ParseBaseException as error:
        raise InputError(
            pointing(query, error.loc, "expected a text in quotes or a picture, joined by + or -")
        ) from None
    return checked([_term(query, part) for part in parsed])


def checked(terms: Sequence[Term]) -> tuple[Term, ...]:
    """Terms that can be searched for.

    :param terms: the terms
    :return: the same
    :raises InputError: if there are none or too many, a text is blank, or a weight is no number or 0
    """
    if not 0 < len(terms) <= MOST_TERMS:
        raise InputError(f"a query has 1 to {MOST_TERMS} parts, not {len(terms)}")
    for term in terms:
        if isinstance(term.item, str) and is_blank(term.item):
            raise InputError("the query is empty" if len(terms) == 1 else "a part of the query is empty")
        if not math.isfinite(term.weight) or term.weight == 0:
            raise InputError(f"a weight must be a number other than 0, not {term.weight}")
    return tuple(terms)


def sole_text(texts: Sequence[str | None], weights: Sequence[float]) -> int | None:
    """Which part of a query is all that is asked for: a text, from which others may be taken away.

    :param texts: of the parts; None for a picture
    :param weights: of the parts
    :return: its place; None where several parts or a picture are asked for
    """
    wanted = [i for i, weight in enumerate(weights) if weight > 0]
    return wanted[0] if len(wanted) == 1 and texts[wanted[0]] is not None else None


def pointing(text: str, position: int, what: str) -> str:
    """A message that shows where a text cannot be read.

    :param text: what was written, on one line
    :param position: index of the first letter that does not fit
    :param what: what is wrong
    :return: the message, the text, and a caret below the position
    """
    line = text.replace("\n", " ")
    return f"{what} at position {position + 1}:\n  {line}\n  {' ' * position}^"


def _is_arithmetic(query: str) -> bool:
    """Whether a query begins as arithmetic does."""
    import pyparsing as pp

    first = _term_grammar() + pp.FollowedBy(pp.one_of("+ -") | pp.StringEnd())
    try:
        (part,) = (pp.Opt(pp.one_of("+ -")).suppress() + first).parse_string(query)
    except pp.ParseBaseException:
        return False
    return "file" not in part or _file(part["file"]) is not None


def _grammar() -> Any:
    """The grammar of arithmetic."""
    import pyparsing as pp

    sign = pp.one_of("+ -")
    first = pp.Group(pp.Opt(sign("sign")) + _parts())
    more = pp.Group(sign("sign") + _parts())
    return first + more[...]


def _term_grammar() -> Any:
    import pyparsing as pp

    return pp.Group(_parts())


def _parts() -> Any:
    """A text in quotes or a file, with a weight before it."""
    import pyparsing as pp

    weight = pp.Regex(r"\d+(?:\.\d+)?|\.\d+")("weight") + pp.Suppress("*")
    quoted = [pp.Regex(f"{a}(?P<inside>[^{b}]*)[{b}]") for a, b in QUOTES.items()]
    text = pp.MatchFirst([q.copy().set_parse_action(lambda tokens: tokens["inside"]) for q in quoted])
    named = pp.Suppress("file:") + text.copy()("file")
    bare = pp.Regex(r"[^\s\"“„«「*+-]\S*")("file")
    where = pp.Empty().set_parse_action(lambda text, position, tokens: position)("position")
    return pp.Opt(weight) + where + (named | text("text") | bare)


def _term(query: str, part: Any) -> Term:
    """One term, whose picture must exist."""
    weight = float(part.get("weight", 1)) * (-1 if part.get("sign") == "-" else 1)
    if "text" in part:
        return Term(part["text"], weight)
    path = _file(part["file"])
    if path is None:
        position = query.index(part["file"], part["position"])
        raise InputError(pointing(query, position, f"there is no picture {part['file']}, and words need quotes,"))
    return Term(path, weight)


def _file(name: str) -> Path | None:
    """The file of that name, if there is one; any text may be asked about, of whatever length."""
    try:
        path = Path(name).expanduser()
        return path if path.is_file() else None
    except (OSError, RuntimeError, ValueError):
        return None


def _looks_plain(query: str) -> bool:
    """Whether a query cannot be arithmetic, told without the parser, which takes a while to import."""
    words = re.split(r"[\s*]+", query.strip().lstrip("+- "))[:2]
    return not any(mark in query for mark in QUOTES) and not any(_file(word) for word in words)
