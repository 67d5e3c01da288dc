"""Normalized text: the form in which filters compare words."""

import unicodedata


def normalize_text(text: str) -> str:
    """Normalize a text of any script for comparison; macOS writes accents as separate characters, others do not.

    :param text: the text
    :return: the text in Unicode's form NFC and lower case
    """
    return unicodedata.normalize("NFC", text).lower()
