"""Language identification of labels, from all labels together: a single noun is not enough."""

from collections import Counter
from collections.abc import Iterable, Sequence

from babelclip.text.language_id import guess_language
from babelclip.text.scripts import script_of
from babelclip.zeroshot.background_vocabulary import languages_of
from babelclip.zeroshot.labels import Label

MAX_TEXTS = 200
"""Texts that are examined."""


def language_of(labels: Sequence[Label]) -> str | None:
    """Identify the language of labels: by script, by words of the background vocabulary, or by statistics.

    :param labels: the labels
    :return: a language code, or None if the language is uncertain
    """
    texts = [text for label in labels for text in label.texts][:MAX_TEXTS]
    together = ", ".join(texts)
    # A script of a single language decides; Chinese shares its characters with Japanese, which adds kana.
    by_script = guess_language(together) if script_of(together) not in ("Latin", "Cyrillic", "Arabic") else None
    return by_script or _most_frequent(languages_of(text) for text in texts) or guess_language(together)


def _most_frequent(votes: Iterable[Iterable[str]]) -> str | None:
    """Return the language with the most votes, or None for a tie."""
    counts = Counter(code for codes in votes for code in codes).most_common(2)
    if not counts or (len(counts) > 1 and counts[0][1] == counts[1][1]):
        return None
    return counts[0][0]
