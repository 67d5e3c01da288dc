"""Translation accuracy by language: whether the nearest neighbour of a sentence is its translation.

See Artetxe & Schwenk 2019.
"""

from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from babelclip.errors import DataError
from babelclip.evaluation.scores import LanguageScore, Report, TextEncoder, figures
from babelclip.filesystem import read_unzipped

TIE = 1e-6
"""Cosines that differ by less are equal, so that either copy of a repeated sentence is correct."""


@dataclass(frozen=True, slots=True)
class Pairs:
    """English sentences and their translations into one language, line by line."""

    language: str
    english: list[str]
    translated: list[str]


def _lines(path: Path) -> list[str]:
    """Read the lines of a text file, plain or gzipped."""
    try:
        return read_unzipped(path).decode("utf-8").removesuffix("\n").split("\n")
    except (OSError, EOFError, UnicodeDecodeError) as error:
        raise DataError(f"{path} cannot be read: {error}") from None


def read_pairs(folder: Path) -> Iterator[Pairs]:
    """Read the sentence pairs of a folder.

    The files are either LANG.tsv or LANG.tsv.gz, with lines of English, a tab, and the translation; or LANG.txt, among
    them en.txt, where line i is the same sentence in every file.

    :param folder: the folder
    :yield: the pairs of a language, ordered by language code
    :raises DataError: if a file has another format, or there are no files
    """
    parallel = (folder / "en.txt").is_file()
    # Tables beside parallel texts are other data, such as an index of the lines.
    tables = [] if parallel else sorted([*folder.glob("*.tsv"), *folder.glob("*.tsv.gz")])
    texts = sorted(folder.glob("*.txt"))
    for path in tables:
        rows = [line.split("\t") for line in _lines(path)]
        if any(len(row) != 2 for row in rows):
            raise DataError(f"{path}: a line does not have two columns; it must be English, a tab, the translation")
        yield Pairs(path.name.split(".")[0], [row[0] for row in rows], [row[1] for row in rows])
    if parallel:
        english = _lines(folder / "en.txt")
        for path in texts:
            lines = _lines(path)
            if len(lines) == len(english) and path.name != "en.txt":
                yield Pairs(path.stem, english, lines)
    elif not tables:
        raise DataError(f"{folder} holds neither LANG.tsv (or LANG.tsv.gz) files nor en.txt with LANG.txt files")


def evaluate_translation(
    encoder: TextEncoder, pairs: Iterable[Pairs], *, progress: Callable[[str], None] | None = None
) -> Report:
    """Measure how often the nearest neighbour of a sentence in the other language is its translation.

    :param encoder: the encoder of the sentences
    :param pairs: sentence pairs by language
    :param progress: receives the code of each measured language
    :return: figures ``en>xx``, ``xx>en`` and ``both``, their mean
    :raises DataError: if there are no pairs
    """
    scores = []
    for of_language in pairs:
        cosines = encoder.encode_text(of_language.english) @ encoder.encode_text(of_language.translated).T
        of_translation = np.diag(cosines)
        from_english = of_translation >= cosines.max(axis=1) - TIE
        to_english = of_translation >= cosines.max(axis=0) - TIE
        both = (from_english.astype(np.float32) + to_english) / 2
        accuracy = figures({"en>xx": from_english, "xx>en": to_english, "both": both})
        scores.append(LanguageScore(of_language.language, len(of_translation), accuracy))
        if progress is not None:
            progress(of_language.language)
    if not scores:
        raise DataError("there are no sentence pairs to measure; check --pairs and --languages")
    total = sum(score.count for score in scores)
    return Report("Translation", f"{total} sentence pairs", tuple(scores))
