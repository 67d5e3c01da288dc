"""The data that evaluation reads: pictures in a tar or a folder, captions in a table.

A caption table is tab-separated, plain or gzipped, with the header ``image, lang, kind, caption``; ``image`` is the
picture's name without its suffix.
"""

import csv
import io
import tarfile
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path, PurePosixPath

from babelclip.errors import DataError
from babelclip.filesystem import read_unzipped

COLUMNS = ("image", "lang", "kind", "caption")


@dataclass(frozen=True, slots=True)
class Caption:
    """A text, its language code, and the picture that it describes."""

    image: str
    language: str
    text: str


def read_captions(path: Path) -> list[Caption]:
    """The captions of a table.

    :param path: a .tsv or .tsv.gz file
    :return: its rows, in order; rows with an empty caption are left out
    :raises DataError: if it is missing, damaged or has other columns
    """
    try:
        raw = read_unzipped(path)
        rows = csv.DictReader(io.StringIO(raw.decode("utf-8")), delimiter="\t", quoting=csv.QUOTE_NONE)
        if tuple(rows.fieldnames or ()) != COLUMNS:
            raise DataError(f"{path}: its columns are {rows.fieldnames}, they must be {', '.join(COLUMNS)}")
        return [Caption(row["image"], row["lang"], row["caption"]) for row in rows if row["caption"]]
    except (OSError, EOFError, UnicodeDecodeError, csv.Error) as error:
        raise DataError(f"{path} cannot be read: {error}") from None


def read_pictures(path: Path) -> Iterator[tuple[str, bytes]]:
    """The pictures of a tar file or a folder.

    :param path: a .tar file, or a folder whose files all are pictures
    :yield: a picture's name without its suffix, and the bytes of its file
    :raises DataError: if it is neither, or is damaged
    """
    if path.is_dir():
        for file in sorted(file for file in path.iterdir() if file.is_file()):
            yield file.stem, file.read_bytes()
        return
    try:
        with tarfile.open(path) as archive:
            for member in archive:
                content = archive.extractfile(member) if member.isfile() else None
                if content is not None:
                    yield PurePosixPath(member.name).stem, content.read()
    except (OSError, tarfile.TarError) as error:
        raise DataError(f"{path} cannot be read as a tar file of pictures: {error}") from None


def beginning_with(pictures: Iterable[tuple[str, bytes]], prefixes: tuple[str, ...]) -> Iterator[tuple[str, bytes]]:
    """Only the pictures whose name begins with one of some words; all of them where there are none.

    :param pictures: names and bytes
    :param prefixes: the words
    :yield: names and bytes
    """
    for name, content in pictures:
        if not prefixes or name.startswith(prefixes):
            yield name, content
