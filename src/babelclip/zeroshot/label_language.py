"""The language of labels, from all of them together: a single noun tells little."""

from collections import Counter
from collections.abc import Iterable, Sequence

from babelclip.text.language_id import guess_language
from babelclip.text.scripts import script_of
from babelclip.zeroshot.everyday_words import languages_of
from babelclip.zeroshot.labels import Label

MOST = 200
"""Texts that are looked at."""


def language_of(labels: Sequence[Label]) -> str | None:
    """Guess the language of labels: by their script, by everyday words among them, else by statistics.

    :param labels: the labels
    :return: a code; None where it cannot be told
    """
    texts = [text for label in labels for text in label.texts][:MOST]
    together = ", ".join(texts)
    # Languages that own their script need no more; Chinese shares its characters with Japanese, which adds kana.
    by_script = guess_language(together) if script_of(together) not in ("Latin", "Cyrillic", "Arabic") else None
    return by_script or _most(languages_of(text) for text in texts) or guess_language(together)


def _most(votes: Iterable[Iterable[str]]) -> str | None:
    """The language that most words are of, if it is one alone."""
    counts = Counter(code for own in votes for code in own).most_common(2)
    if not counts or (len(counts) > 1 and counts[0][1] == counts[1][1]):
        return None
    return counts[0][0]
