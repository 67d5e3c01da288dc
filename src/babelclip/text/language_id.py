"""Language identification: by script if that is enough, else by statistics of letters (py3langid).

A short text in the Latin script can be in many languages, so statistics count only above a probability.
"""

from babelclip.text import langid_model
from babelclip.text.scripts import script_of

MIN_PROBABILITY = 0.95
"""Of a language found by statistics."""
MIN_WORDS = 3
"""Of a text that statistics are applied to, except in Han, which has no spaces."""

_LANGUAGE_OF_SCRIPT = {
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
# py3langid's codes of languages that have another code in text/languages.py.
_RENAMED = {"no": "nb", "nn": "nb", "zh": "zh-cn", "wuu": "zh-cn", "yue": "zh-tw", "bs": "hr", "ary": "ar", "arz": "ar"}


def guess_language(text: str) -> str | None:
    """Identify the language of a text.

    :param text: any text
    :return: a code, perhaps of a language that no model here supports; None if the text is too short or ambiguous
    """
    script = script_of(text)
    if script in _LANGUAGE_OF_SCRIPT:
        return _LANGUAGE_OF_SCRIPT[script]
    if not _needs_statistics(text, script):
        return None
    code, probability = langid_model.classify(text)
    return _RENAMED.get(code, code) if probability >= MIN_PROBABILITY else None


def read_ahead(text: str) -> None:
    """Open in the background what guess_language will need for a text.

    :param text: any text
    """
    if _needs_statistics(text, script_of(text)):
        langid_model.open_ahead()


def _needs_statistics(text: str, script: str | None) -> bool:
    """Whether the script leaves the language open, and the text is long enough for statistics."""
    if script is None or script in _LANGUAGE_OF_SCRIPT:
        return False
    return len(text.split()) >= MIN_WORDS or script == "Han"
