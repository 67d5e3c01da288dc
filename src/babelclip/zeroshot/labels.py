"""Labels: their names, texts and tree.

A labels file is one of
  a text file       one label per line; ``dog | hound`` has two texts; an indented line is below the line before it
  JSON, a list      ["dog", "cat"]
  JSON, an object   {"dog": ["hound", "Hund"], "cat": []}, further texts by name; or nested objects, a tree
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
MAX_LISTED = 5
"""Number of names that an error message lists."""


@dataclass(frozen=True, slots=True)
class Label:
    """A class: its name, the texts that describe it, and the names of its ancestors, from the root.

    ``key`` distinguishes classes of the same name, such as the two cranes of Babel-ImageNet.
    """

    name: str
    texts: tuple[str, ...]
    above: tuple[str, ...] = ()
    key: str = ""

    @property
    def path(self) -> tuple[str, ...]:
        """The names of its ancestors and its name."""
        return (*self.above, self.name)


def as_labels(given: Sequence[str | Label] | Mapping[str, Any]) -> list[Label]:
    """Convert names or mappings to labels.

    :param given: names; or name -> further texts; or name -> a mapping of the labels below it
    :return: the labels, parents before their children
    :raises InputError: if there are no labels, one has no text, or two are equal
    """
    if isinstance(given, str):
        raise InputError(f"labels must be a list of texts, not the text {given!r}")
    labels = list(_from_mapping(given, ())) if isinstance(given, Mapping) else [_as_label(label) for label in given]
    if not labels:
        raise InputError("there are no labels; give at least one")
    blank = [
        label.name for label in labels if not label.texts or not all(t.strip() for t in (label.name, *label.texts))
    ]
    if blank:
        raise InputError(f"labels without text: {_listed(blank)}; name them or leave them out")
    seen: set[tuple[object, ...]] = set()
    repeated = []
    for label in labels:
        identity = (label.key, *label.path)
        if identity in seen:
            repeated.append(label.name)
        seen.add(identity)
    if repeated:
        raise InputError(f"labels are repeated: {_listed(repeated)}; merge them into one label")
    return labels


def read_labels(path: Path, language: str | None = None) -> list[Label]:
    """Read labels from a file in one of the formats above.

    :param path: a text or JSON file, plain or gzipped
    :param language: language of the names, if the file has several
    :return: the labels
    :raises DataError: if the file is missing or has another format
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
        raise DataError(f"{path}: labels must be a JSON list or object, not {type(content).__name__}")
    return as_labels(content)


def _as_label(label: object) -> Label:
    """Make a label from its name."""
    if isinstance(label, Label):
        return label
    if not isinstance(label, str):
        raise InputError(f"a label must be a text, not {type(label).__name__} ({str(label)[:40]!r})")
    return Label(label.strip(), (label.strip(),))


def _from_mapping(given: Mapping[str, Any], above: tuple[str, ...]) -> Iterator[Label]:
    """Make labels with further texts, or with labels below them."""
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
    """Parse one label per line; a line that is indented further is below the line before it."""
    above: list[tuple[int, str]] = []
    for line in text.splitlines():
        if not line.strip():
            continue
        texts = tuple(dict.fromkeys(part.strip() for part in line.split(SEPARATOR) if part.strip()))
        if not texts:
            raise DataError(f"{source}: the line {line!r} holds no label; write label | other text")
        depth = len(line.expandtabs(4)) - len(line.expandtabs(4).lstrip())
        while above and above[-1][0] >= depth:
            above.pop()
        yield Label(texts[0], texts, tuple(name for _, name in above))
        above.append((depth, texts[0]))


def _numbered(path: Path, language: str | None) -> list[Label]:
    """Read the names of one language from a file in the format of Babel-ImageNet."""
    by_language = {names.language: names.names for names in read_class_names(path)}
    if language not in by_language:
        problem = "the file has several languages" if language is None else f"no names in {language!r}"
        known = [code for code in CODES if code in by_language]
        raise InputError(
            f"{path}: {problem}; give --language, one of {', '.join(known)} or {len(by_language) - len(known)} others"
        )
    return [Label(name, (name,), key=wnid) for wnid, name in by_language[language].items()]


def _listed(names: Sequence[str]) -> str:
    """List the first names."""
    rest = f" and {len(names) - MAX_LISTED} more" if len(names) > MAX_LISTED else ""
    return ", ".join(repr(name) for name in names[:MAX_LISTED]) + rest
