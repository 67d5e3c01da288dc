"""Labels: what they are called, in how many ways, and which stands below which.

A labels file is one of
  a text file       a label a line; ``dog | hound`` has two texts; a line that is indented stands below the one before
  JSON, a list      ["dog", "cat"]
  JSON, an object   {"dog": ["hound", "Hund"], "cat": []}, the texts beside the name; or nested objects, a tree
  Babel-ImageNet    {"wnids": [...], "DE": [[class numbers], [names]], ...}; the language must be given
"""

import json
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from babelclip.errors import DataError, InputError
from babelclip.filesystem import read_unzipped
from babelclip.text.languages import CODES
from babelclip.zeroshot.class_names import read_class_names

SEPARATOR = "|"
SHOWN = 5
"""Names that an error message lists."""


@dataclass(frozen=True, slots=True)
class Label:
    """A class: its name, all texts that stand for it, and the names above it, from the top.

    ``key`` tells it from another class of the same name, as Babel-ImageNet's two cranes.
    """

    name: str
    texts: tuple[str, ...]
    above: tuple[str, ...] = ()
    key: str = ""

    @property
    def path(self) -> tuple[str, ...]:
        """The names from the top down to its own."""
        return (*self.above, self.name)


def as_labels(given: Sequence[str | Label] | Mapping[str, Any]) -> list[Label]:
    """Labels in any of the forms that Python gives them.

    :param given: names; or name -> its other texts; or name -> a mapping of the labels below it
    :return: the labels, a parent before its children
    :raises InputError: if there is none, one has no text, or two are the same
    """
    if isinstance(given, str):
        raise InputError(f"labels are a list; {given!r} is one text")
    labels = list(_from_mapping(given, ())) if isinstance(given, Mapping) else [_one(label) for label in given]
    if not labels:
        raise InputError("there are no labels; give at least one")
    blank = [
        label.name for label in labels if not label.texts or not all(t.strip() for t in (label.name, *label.texts))
    ]
    if blank:
        raise InputError(f"a label has no text: {_listed(blank)}")
    seen: set[tuple[object, ...]] = set()
    twice = []
    for label in labels:
        identity = (label.key, *label.path)
        if identity in seen:
            twice.append(label.name)
        seen.add(identity)
    if twice:
        raise InputError(f"given twice: {_listed(twice)}; join them into one label")
    return labels


def read_labels(path: Path, language: str | None = None) -> list[Label]:
    """The labels of a file; see the forms above.

    :param path: a text or JSON file, plain or gzipped
    :param language: of the names, where the file has several
    :return: the labels
    :raises DataError: if the file is missing or has another form
    :raises InputError: as as_labels
    """
    try:
        text = read_unzipped(path).decode("utf-8-sig")
    except (OSError, EOFError, UnicodeDecodeError) as error:
        raise DataError(f"{path} cannot be read: {error}") from None
    if ".json" not in path.name:
        return as_labels(list(_from_lines(text, path)))
    try:
        content = json.loads(text)
    except ValueError as error:
        raise DataError(f"{path} is not JSON: {error}") from None
    if isinstance(content, dict) and "wnids" in content:
        return as_labels(_numbered(path, language))
    if not isinstance(content, dict | list):
        raise DataError(f"{path}: labels are a list or an object, not {type(content).__name__}")
    return as_labels(content)


def _one(label: object) -> Label:
    """A label from its name alone, or as it is."""
    if isinstance(label, Label):
        return label
    if not isinstance(label, str):
        raise InputError(f"a label is a text, not {type(label).__name__} ({str(label)[:40]!r})")
    return Label(label.strip(), (label.strip(),))


def _from_mapping(given: Mapping[str, Any], above: tuple[str, ...]) -> Iterator[Label]:
    """Labels with other texts, or with labels below them."""
    for name, value in given.items():
        name = str(name).strip()
        if isinstance(value, Mapping):
            yield Label(name, (name,), above)
            yield from _from_mapping(value, (*above, name))
        elif isinstance(value, list | tuple) and all(isinstance(text, str) for text in value):
            yield Label(name, tuple(dict.fromkeys((name, *(text.strip() for text in value)))), above)
        else:
            raise InputError(f"{name!r} must have a list of texts or an object of labels, not {type(value).__name__}")


def _from_lines(text: str, source: Path) -> Iterator[Label]:
    """A label a line; those that are indented further stand below."""
    above: list[tuple[int, str]] = []
    for line in text.splitlines():
        if not line.strip():
            continue
        texts = tuple(dict.fromkeys(part.strip() for part in line.split(SEPARATOR) if part.strip()))
        if not texts:
            raise DataError(f"{source}: the line {line!r} holds no text")
        depth = len(line.expandtabs(4)) - len(line.expandtabs(4).lstrip())
        while above and above[-1][0] >= depth:
            above.pop()
        yield Label(texts[0], texts, tuple(name for _, name in above))
        above.append((depth, texts[0]))


def _numbered(path: Path, language: str | None) -> list[Label]:
    """The names of one language in a file of Babel-ImageNet's form."""
    by_language = {names.language: names.names for names in read_class_names(path)}
    if language not in by_language:
        asked = "say which language" if language is None else f"no names in {language!r}"
        known = [code for code in CODES if code in by_language]
        raise InputError(f"{path}: {asked}; there are {', '.join(known)} and {len(by_language) - len(known)} others")
    return [Label(name, (name,), key=wnid) for wnid, name in by_language[language].items()]


def _listed(names: Sequence[str]) -> str:
    """The first of some names."""
    rest = f" and {len(names) - SHOWN} more" if len(names) > SHOWN else ""
    return ", ".join(repr(name) for name in names[:SHOWN]) + rest
