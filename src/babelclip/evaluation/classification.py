"""Zero-shot classification by language: the name of a class is its classifier (Radford et al. 2021)."""

import json
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from babelclip.errors import DataError
from babelclip.evaluation.captions import read_unzipped
from babelclip.evaluation.retrieval import best_ranks, encode_pictures
from babelclip.evaluation.scores import LanguageScore, Report, figures
from babelclip.model import Model

CUTS = (1, 5)

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


def evaluate_zero_shot(
    model: Model,
    pictures: Iterable[tuple[str, bytes]],
    classes: Iterable[ClassNames],
    *,
    progress: Callable[[str], None] | None = None,
) -> Report:
    """Measure classification among the classes that each language names, over the pictures of those classes.

    :param model: the model
    :param pictures: names (their class) and bytes of files
    :param classes: the names by language
    :param progress: is told what was finished: a language's code
    :return: figures ``top-1`` and ``top-5``; a language's count is that of its pictures
    :raises DataError: if no picture is of a named class
    """
    names, vectors, failed = encode_pictures(model, pictures)
    scores = []
    for language in classes:
        keys = list(language.names)
        rows = [row for row, name in enumerate(names) if name in language.names]
        if rows:
            similarity = vectors[rows] @ model.encode_text(list(language.names.values())).T
            own = np.array([names[row] for row in rows])[:, None] == np.array(keys)
            placed = best_ranks(similarity, own)
            found = figures({f"top-{cut}": placed <= cut for cut in CUTS})
            scores.append(LanguageScore(language.language, len(rows), found))
        if progress is not None:
            progress(language.language)
    if not scores:
        raise DataError("no picture is of a class that has a name")
    return Report("Zero-shot classification", f"{len(names)} pictures", tuple(scores), tuple(failed))
