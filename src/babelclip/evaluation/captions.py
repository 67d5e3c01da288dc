"""Readers of evaluation data: pictures in a tar file or a folder, captions in a table.

A caption table is tab-separated, plain or gzipped, with the header ``image, lang, kind, caption``; ``image`` is the
path or base name of the picture, with or without suffix.
"""

import csv
import io
import tarfile
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, replace
from pathlib import Path, PurePosixPath

from babelclip.errors import DataError
from babelclip.filesystem import read_unzipped
from babelclip.media.crawl import kind_of
from babelclip.media.path_rules import DEFAULT_RULES

COLUMNS = ("image", "lang", "kind", "caption")


@dataclass(frozen=True, slots=True)
class Caption:
    """A text, its language code, and the picture that it describes."""

    image: str
    language: str
    text: str


def read_captions(path: Path) -> list[Caption]:
    """Read captions from a table.

    :param path: a .tsv or .tsv.gz file
    :return: the rows in order, without those of an empty caption
    :raises DataError: if the file is missing, damaged or has other columns
    """
    try:
        raw = read_unzipped(path)
        rows = csv.DictReader(io.StringIO(raw.decode("utf-8")), delimiter="\t", quoting=csv.QUOTE_NONE)
        if tuple(rows.fieldnames or ()) != COLUMNS:
            raise DataError(f"{path}: the columns are {rows.fieldnames}; they must be {', '.join(COLUMNS)}")
        return [Caption(row["image"], row["lang"], row["caption"]) for row in rows if row["caption"]]
    except (OSError, EOFError, UnicodeDecodeError, csv.Error) as error:
        raise DataError(f"{path} cannot be read: {error}") from None


def read_pictures(path: Path) -> Iterator[tuple[str, bytes]]:
    """Read the pictures of a tar file or a folder, with those in its subfolders.

    :param path: a .tar file, or a folder; hidden files and files with another suffix than a picture's, such as the
        captions beside pictures, are skipped
    :yield: the name of a picture, its relative path without suffix (``trip/a`` of ``trip/a.jpg``), and its bytes
    :raises DataError: if the path is neither or is damaged, or if two pictures have the same name
    """
    seen: dict[str, str] = {}
    try:
        for file, content in _folder_files(path) if path.is_dir() else _tar_files(path):
            name = str(PurePosixPath(file).with_suffix("")) if PurePosixPath(file).suffix else file
            if name in seen:
                raise DataError(f"{path}: {seen[name]} and {file} have the same name, {name}; rename one of them")
            seen[name] = file
            yield name, content
    except (OSError, tarfile.TarError) as error:
        raise DataError(f"{path} cannot be read as a tar file or folder of pictures: {error}") from None


def _folder_files(folder: Path) -> Iterator[tuple[str, bytes]]:
    """Read the files in a folder and its subfolders, ordered by path."""
    for file in sorted(folder.rglob("*")):
        inside = file.relative_to(folder)
        if file.is_file() and _is_picture(PurePosixPath(inside.as_posix())):
            yield inside.as_posix(), file.read_bytes()


def _tar_files(path: Path) -> Iterator[tuple[str, bytes]]:
    """Read the files of a tar file in their order."""
    with tarfile.open(path) as archive:
        for member in archive:
            inside = PurePosixPath(member.name.removeprefix("./").lstrip("/"))
            content = archive.extractfile(member) if member.isfile() and _is_picture(inside) else None
            if content is not None:
                yield str(inside), content.read()


def _is_picture(inside: PurePosixPath) -> bool:
    """Tell whether a file inside a set is a picture by its name: names without a suffix count."""
    return DEFAULT_RULES.reason(inside.parts) is None and (kind_of(inside.name) == "image" or not inside.suffix)


def plain_name(name: str) -> str:
    """Remove ``./`` and the suffix from the name of a picture in a table.

    :param name: name or path of a picture in a table
    :return: the name that read_pictures yields
    """
    plain = name.removeprefix("./")
    return plain.rsplit(".", 1)[0] if kind_of(plain) == "image" else plain


def match_pictures(wanted: Iterable[str], names: Iterable[str]) -> dict[str, str]:
    """Match the picture names of a table with pictures, by path or base name, with or without suffix.

    :param wanted: names in the table: ``a``, ``a.jpg``, ``trip/a`` or ``trip/a.jpg``
    :param names: names that read_pictures yields
    :return: name in the table -> name of the picture; names without a picture are left out
    :raises DataError: if a name is the base name of two pictures
    """
    known = dict.fromkeys(names)
    by_base: dict[str, list[str]] = {}
    for name in known:
        by_base.setdefault(PurePosixPath(name).name, []).append(name)
    matches: dict[str, str] = {}
    for key in dict.fromkeys(wanted):
        stem = plain_name(key)
        candidates = [key] if key in known else [stem] if stem in known else by_base.get(stem, [])
        if len(candidates) > 1:
            first, second, *_ = candidates
            raise DataError(f"{key!r} is the name of two pictures, {first} and {second}; name them by their paths")
        if candidates:
            matches[key] = candidates[0]
    return matches


def match_captions(captions: Iterable[Caption], names: Iterable[str]) -> list[Caption]:
    """Select the captions of existing pictures.

    :param captions: captions of a table
    :param names: names that read_pictures yields
    :return: the captions with a picture, whose ``image`` is the name of that picture
    :raises DataError: if the name in a caption is the base name of two pictures
    """
    rows = list(captions)
    matches = match_pictures((row.image for row in rows), names)
    return [replace(row, image=matches[row.image]) for row in rows if row.image in matches]


def beginning_with(pictures: Iterable[tuple[str, bytes]], prefixes: tuple[str, ...]) -> Iterator[tuple[str, bytes]]:
    """Select pictures by prefixes of their names; all if there are no prefixes.

    :param pictures: names and bytes
    :param prefixes: the prefixes
    :yield: names and bytes
    """
    for name, content in pictures:
        if not prefixes or name.startswith(prefixes) or PurePosixPath(name).name.startswith(prefixes):
            yield name, content
