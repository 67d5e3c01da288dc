"""Class names in many languages, in the format of Babel-ImageNet (Geigle et al. 2023)."""

import json
from dataclasses import dataclass
from pathlib import Path

from babelclip.errors import DataError
from babelclip.filesystem import read_unzipped

# Codes of Babel-ImageNet that are not the upper-case form of a babelclip code.
_CODES = {"ZH": "zh-cn", "NO": "nb"}


@dataclass(frozen=True, slots=True)
class ClassNames:
    """Names of classes in one language, by the id of the class, which is the name of its pictures."""

    language: str
    names: dict[str, str]


def read_numbered_names(path: Path) -> tuple[list[str], dict[str, dict[int, str]]]:
    """Read class names in the format of Babel-ImageNet, by class number.

    The file is a JSON object, plain or gzipped: ``wnids`` lists the class ids, and every other key is a language with
    [class numbers, names].

    :param path: a .json or .json.gz file
    :return: the class ids, and language -> class number -> name, ordered by language code
    :raises DataError: if the file is missing, damaged or has another format
    """
    try:
        content = json.loads(read_unzipped(path))
        classes = [str(wnid) for wnid in content.pop("wnids")]
        by_language = {
            _CODES.get(key, key.lower().replace("_", "-")): {
                range(len(classes))[number]: str(name) for number, name in zip(numbers, names, strict=True)
            }
            for key, (numbers, names) in content.items()
        }
    except (OSError, EOFError, ValueError, KeyError, TypeError, IndexError, AttributeError) as error:
        raise DataError(
            f"{path} cannot be read as class names in the format of Babel-ImageNet: {type(error).__name__}: {error}"
        ) from None
    return classes, dict(sorted(by_language.items()))


def read_class_names(path: Path) -> list[ClassNames]:
    """Read class names in the format of Babel-ImageNet, by class id; see read_numbered_names.

    :param path: a .json or .json.gz file
    :return: the names, ordered by language code
    :raises DataError: if the file is missing, damaged or has another format
    """
    classes, by_language = read_numbered_names(path)
    return [ClassNames(code, {classes[i]: name for i, name in names.items()}) for code, names in by_language.items()]
