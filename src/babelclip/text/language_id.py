"""Which language is a text in? By its script where that is enough, else by the letters' statistics (py3langid).

A short text in the Latin script can be many languages: only a guess that the statistics are sure of is given.
"""

import secrets
import shutil
import threading
import unicodedata
from collections import Counter
from collections.abc import Sequence
from functools import cache
from importlib import metadata
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from babelclip.settings import settings

SURE = 0.95
"""The least probability of a guess by statistics."""
FEWEST_WORDS = 3
"""Of a text that statistics are asked about."""

_SCRIPT_LANGUAGES = {
    "Armenian": "hy",
    "Bengali": "bn",
    "Georgian": "ka",
    "Greek": "el",
    "Gujarati": "gu",
    "Gurmukhi": "pa",
    "Hangul": "ko",
    "Hebrew": "he",
    "Japanese": "ja",
    "Kannada": "kn",
    "Khmer": "km",
    "Lao": "lo",
    "Malayalam": "ml",
    "Myanmar": "my",
    "Oriya": "or",
    "Sinhala": "si",
    "Tamil": "ta",
    "Telugu": "te",
    "Thai": "th",
    "Tibetan": "bo",
}
PARTS = ("table", "priors", "classes", "moves", "rows", "outputs")
"""Of py3langid's model: features x languages, languages, and the automaton that finds features."""
# Words of Unicode names that are not the script's own name.
_SCRIPT_NAMES = {"Cjk": "Han", "Hiragana": "Japanese", "Katakana": "Japanese", "Ideographic": "Han"}
# Codes of py3langid that stand for a language under another code here.
_SAME = {"no": "nb", "nn": "nb", "zh": "zh-cn", "wuu": "zh-cn", "yue": "zh-tw", "bs": "hr", "ary": "ar", "arz": "ar"}

_READING = threading.Lock()


def script_of(text: str) -> str | None:
    """The script that most letters of a text are in; one letter of kana among Han makes it Japanese.

    :param text: any text
    :return: the name in Unicode, such as ``Latin``; None where there is no letter
    """
    letters = unicodedata.normalize("NFKC", text)
    found = Counter(_script(letter) for letter in letters if letter.isalpha())
    if "Japanese" in found and "Han" in found:
        found["Japanese"] += found.pop("Han")
    return found.most_common(1)[0][0] if found else None


def guess_language(text: str) -> str | None:
    """The language of a text, where it can be told.

    :param text: any text
    :return: a code, perhaps of a language that no model here knows; None where it cannot be told
    """
    script = script_of(text)
    if script in _SCRIPT_LANGUAGES:
        return _SCRIPT_LANGUAGES[script]
    if not _asks_statistics(text, script):
        return None
    code, probability = _identifier().classify(text)
    return _SAME.get(code, str(code)) if probability >= SURE else None


def read_ahead(text: str) -> None:
    """Begin to read, in a thread, what guess_language will need for a text: a command has other things to do meanwhile.

    :param text: any text
    """
    if _asks_statistics(text, script_of(text)):
        threading.Thread(target=_identifier, name="babelclip-language", daemon=True).start()


def _asks_statistics(text: str, script: str | None) -> bool:
    """Whether neither the script tells the language nor the text is too short for statistics."""
    if script is None or script in _SCRIPT_LANGUAGES:
        return False
    return len(text.split()) >= FEWEST_WORDS or script == "Han"


@cache
def _script(letter: str) -> str:
    """The script of a letter: the first word of its name in Unicode."""
    name = unicodedata.name(letter, "unknown").split(" ")[0].split("-")[0].capitalize()
    return _SCRIPT_NAMES.get(name, name)


def _identifier() -> Any:
    """py3langid's model, opened when it is first needed."""
    with _READING:
        return _open_identifier()


@cache
def _open_identifier() -> Any:
    from py3langid.langid import LanguageIdentifier

    folder = settings().home / "languages" / f"py3langid-{metadata.version('py3langid')}"
    table, priors, classes, moves, rows, outputs = _unpacked_model(folder)
    return LanguageIdentifier(
        np.asarray(table),
        np.asarray(priors),
        classes.tolist(),
        moves.data,
        outputs.tolist(),
        norm_probs=True,
        tk_row=rows.tolist(),
    )


def _unpacked_model(folder: Path) -> "Sequence[NDArray[Any]]":
    """The arrays of py3langid's model, mapped from files.

    Unpacking them takes a third of a second and 70 MiB, so it is done once, and processes share the pages.
    """
    try:
        return [np.load(folder / f"{name}.npy", mmap_mode="r") for name in PARTS]
    except (OSError, ValueError):
        pass
    from py3langid.langid import MODEL_DIR, MODEL_FILE
    from py3langid.modelio import load_model

    parts = [np.asarray(part) for part in load_model(MODEL_DIR / MODEL_FILE)]
    draft = folder.with_name(f"{folder.name}.{secrets.token_hex(8)}")
    try:
        draft.mkdir(parents=True)
        for name, part in zip(PARTS, parts, strict=True):
            np.save(draft / f"{name}.npy", part)
        shutil.rmtree(folder, ignore_errors=True)
        draft.rename(folder)
    except OSError:
        shutil.rmtree(draft, ignore_errors=True)
    return parts
