"""Translation accuracy by language: does a sentence find its translation among all of them (Artetxe & Schwenk 2019)?"""

from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from babelclip.errors import DataError
from babelclip.evaluation.scores import LanguageScore, Report, TextEncoder, figures
from babelclip.filesystem import read_unzipped

TIE = 1e-6
"""Cosines nearer than this are equal: a sentence that occurs twice is found in either place."""


@dataclass(frozen=True, slots=True)
class Pairs:
    """English sentences and their translations into one language, line by line."""

    language: str
    english: list[str]
    translated: list[str]


def _lines(path: Path) -> list[str]:
    """The lines of a text file, plain or gzipped."""
    try:
        return read_unzipped(path).decode("utf-8").removesuffix("\n").split("\n")
    except (OSError, EOFError, UnicodeDecodeError) as error:
        raise DataError(f"{path} cannot be read: {error}") from None


def read_pairs(folder: Path) -> Iterator[Pairs]:
    """The sentence pairs of a folder.

    Either LANG.tsv or LANG.tsv.gz, each line English, a tab, and the translation; or LANG.txt, where line i is the same
    sentence in every file and en.txt is one of them.

    :param folder: the folder
    :yield: a language's pairs, in order of the codes
    :raises DataError: if a file has another form, or there is none
    """
    parallel = (folder / "en.txt").is_file()
    # Beside parallel texts a table is something else, such as an index of the lines.
    tables = [] if parallel else sorted([*folder.glob("*.tsv"), *folder.glob("*.tsv.gz")])
    texts = sorted(folder.glob("*.txt"))
    for path in tables:
        rows = [line.split("\t") for line in _lines(path)]
        if any(len(row) != 2 for row in rows):
            raise DataError(f"{path}: a line does not have two columns")
        yield Pairs(path.name.split(".")[0], [row[0] for row in rows], [row[1] for row in rows])
    if parallel:
        english = _lines(folder / "en.txt")
        for path in texts:
            lines = _lines(path)
            if len(lines) == len(english) and path.name != "en.txt":
                yield Pairs(path.stem, english, lines)
    elif not tables:
        raise DataError(f"{folder} holds neither LANG.tsv files nor en.txt with LANG.txt files")


def evaluate_translation(
    encoder: TextEncoder, pairs: Iterable[Pairs], *, progress: Callable[[str], None] | None = None
) -> Report:
    """Measure how often a sentence's nearest neighbour in the other language is its translation.

    :param encoder: what embeds the sentences
    :param pairs: sentence pairs by language
    :param progress: is told what was finished: a language's code
    :return: figures ``en>xx``, ``xx>en`` and ``both``, their mean
    :raises DataError: if there are no pairs
    """
    scores = []
    for language in pairs:
        similarity = encoder.encode_text(language.english) @ encoder.encode_text(language.translated).T
        own = np.diag(similarity)
        there = own >= similarity.max(axis=1) - TIE
        back = own >= similarity.max(axis=0) - TIE
        both = (there.astype(np.float32) + back) / 2
        found = figures({"en>xx": there, "xx>en": back, "both": both})
        scores.append(LanguageScore(language.language, len(own), found))
        if progress is not None:
            progress(language.language)
    if not scores:
        raise DataError("there are no sentence pairs")
    total = sum(score.count for score in scores)
    return Report("Translation", f"{total} sentence pairs", tuple(scores))
