"""Text in the form in which filters compare it."""

import unicodedata


def small_letters(text: str) -> str:
    """A text in the form that words are compared in: of any script, with accents as one letter, as macOS has not.

    :param text: the text
    :return: NFC, in small letters
    """
    return unicodedata.normalize("NFC", text).lower()
