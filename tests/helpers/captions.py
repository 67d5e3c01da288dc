"""Captions of plain pictures in the artificial languages."""

from tests.conftest import ALPHABETS

COLOURS = 8


def caption(code: str, colour: int) -> str:
    letter = ALPHABETS[code][colour]
    return f"{letter * 3} {letter * 2}"
