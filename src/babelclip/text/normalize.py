"""Normalized text: the form in which filters compare words, and the form in which queries are embedded."""

import re
import unicodedata

# Soft hyphen, zero-width space, word joiner, direction marks and the byte order mark: nobody sees them.
_INVISIBLE = re.compile("[\u00ad\u034f\u061c\u180e\u200b\u200e\u200f\u202a-\u202e\u2060-\u2064\u2066-\u206f\ufeff]")
# Arabic vowel marks and the letter that only makes a word longer.
_ARABIC_MARKS = re.compile("[\u0610-\u061a\u0640\u064b-\u065f\u0670]")
_TURKISH = frozenset("İĞŞığş")


def normalize_text(text: str) -> str:
    """Normalize a text of any script for comparison; macOS writes accents as separate characters, others do not.

    :param text: the text
    :return: the text in Unicode's form NFC and lower case
    """
    return unicodedata.normalize("NFC", text).lower()


def normalize_query(text: str) -> str:
    """Normalize a query, so that the ways in which a keyboard writes the same words find the same photos.

    Composed (NFC), without characters that nobody sees and without Arabic vowel marks and tatweel, in lower case: with
    ``mini`` capitals change what is found in every language that has them. Joiners (U+200C, U+200D) stay, since Persian
    and emoji need them.

    :param text: as a person wrote it
    :return: the text to embed; blank if nothing can be seen
    """
    plain = _ARABIC_MARKS.sub("", _INVISIBLE.sub("", unicodedata.normalize("NFC", text)))
    if _TURKISH & set(plain):
        plain = plain.replace("I", "ı")
    return plain.replace("İ", "i").lower()


def is_blank(text: str) -> bool:
    """Tell whether a text has nothing that can be seen.

    :param text: the text
    :return: True for white space, invisible characters and what ``normalize_query`` removes, alone
    """
    return all(unicodedata.category(letter) in ("Cf", "Cc", "Zs", "Zl", "Zp") for letter in normalize_query(text))
