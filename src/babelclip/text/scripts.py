"""Scripts of characters and texts, by the Unicode property Script (UAX #24)."""

import unicodedata
from bisect import bisect_right
from collections import Counter
from functools import cache

from babelclip.text.script_ranges import RANGES

SHARED = frozenset({"Common", "Inherited", "Unknown"})
"""Values of characters that belong to no one script: digits, punctuation, combining marks, unassigned code points."""
JAPANESE = "Japanese"
"""Stands for Hiragana and Katakana, and for Han in a text that has either of them."""
_KANA = frozenset({"Hiragana", "Katakana"})


def script_of_character(character: str) -> str:
    """Look up the script of a character.

    :param character: one character
    :return: the value of the property Script, such as ``Latin`` or ``Old Italic``; ``Common``, ``Inherited`` or
        ``Unknown`` if the character belongs to no one script
    """
    starts, ends, scripts = _table()
    code = ord(character)
    index = bisect_right(starts, code) - 1
    return scripts[index] if index >= 0 and code <= ends[index] else "Unknown"


def script_of(text: str) -> str | None:
    """Find the script that most letters of a text are written in.

    :param text: any text
    :return: a script, ``Japanese`` for kana and for kana mixed with Han; None if the text has no letter of any script
    """
    letters = (letter for letter in unicodedata.normalize("NFKC", text) if letter.isalpha())
    counts = Counter(_writing_system(letter) for letter in letters)
    for shared in SHARED:
        counts.pop(shared, None)
    if JAPANESE in counts:
        counts[JAPANESE] += counts.pop("Han", 0)
    return counts.most_common(1)[0][0] if counts else None


@cache
def _writing_system(letter: str) -> str:
    script = script_of_character(letter)
    return JAPANESE if script in _KANA else script


@cache
def _table() -> tuple[list[int], list[int], list[str]]:
    """The ranges of all scripts in the order of code points: first and last code points, inclusive, and scripts."""
    rows = []
    for script, ranges in RANGES.items():
        for part in ranges.split():
            first, _, last = part.partition("-")
            rows.append((int(first, 16), int(last or first, 16), script))
    rows.sort()
    return [row[0] for row in rows], [row[1] for row in rows], [row[2] for row in rows]
