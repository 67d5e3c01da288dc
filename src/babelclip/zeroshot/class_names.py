"""Names of classes in many languages, in the form of Babel-ImageNet (Geigle et al. 2023)."""

import json
from dataclasses import dataclass
from pathlib import Path

from babelclip.errors import DataError
from babelclip.filesystem import read_unzipped

# Babel-ImageNet's own codes, where they are not ours in capitals.
_CODES = {"ZH": "zh-cn", "NO": "nb"}


@dataclass(frozen=True, slots=True)
class ClassNames:
    """The names that one language has for some classes; a class is the id that its pictures are named by."""

    language: str
    names: dict[str, str]


def read_numbered_names(path: Path) -> tuple[list[str], dict[str, dict[int, str]]]:
    """Class names in the form of Babel-ImageNet (Geigle et al. 2023), by the numbers of the classes.

    The file is a JSON object, plain or gzipped: ``wnids`` lists the classes, and every other key is a language with
    [class numbers, names].

    :param path: a .json or .json.gz file
    :return: the ids of the classes in their order, and by language, in order of the codes, class number -> name
    :raises DataError: if it is missing, damaged or has another form
    """
    try:
        content = json.loads(read_unzipped(path))
        classes = [str(wnid) for wnid in content.pop("wnids")]
        found = {
            _CODES.get(key, key.lower().replace("_", "-")): {
                range(len(classes))[number]: str(name) for number, name in zip(numbers, names, strict=True)
            }
            for key, (numbers, names) in content.items()
        }
    except (OSError, EOFError, ValueError, KeyError, TypeError, IndexError, AttributeError) as error:
        raise DataError(f"{path} cannot be read as class names: {type(error).__name__}: {error}") from None
    return classes, dict(sorted(found.items()))


def read_class_names(path: Path) -> list[ClassNames]:
    """Class names in the form of Babel-ImageNet, by the ids of the classes; see read_numbered_names.

    :param path: a .json or .json.gz file
    :return: the names by language, in order of their codes
    :raises DataError: if it is missing, damaged or has another form
    """
    classes, found = read_numbered_names(path)
    return [ClassNames(code, {classes[i]: name for i, name in names.items()}) for code, names in found.items()]
