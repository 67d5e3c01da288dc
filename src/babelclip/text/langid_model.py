"""The statistical language identification model of py3langid: the only module that uses py3langid's private names.

py3langid's public functions unpack its model in every process, which takes a third of a second and 70 MiB. Here the
arrays are unpacked once and mapped from files, so that processes share them; that needs the constructor and the loader
of the model, which are not public. pyproject.toml therefore pins py3langid below its next minor version.
"""

import secrets
import shutil
import threading
from collections.abc import Sequence
from functools import cache
from importlib import metadata
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from babelclip.settings import settings

ARRAYS = ("table", "priors", "classes", "moves", "rows", "outputs")
"""What py3langid's loader returns: features x languages, languages, and the automaton that finds features."""

_OPENING = threading.Lock()


def classify(text: str) -> tuple[str, float]:
    """Classify a text by the statistics of its letters; the model is opened at the first call.

    :param text: any text
    :return: py3langid's code of the most probable language, and its probability
    """
    code, probability = _identifier().classify(text)
    return str(code), float(probability)


def open_ahead() -> None:
    """Open the model in a background thread, so that it is ready when ``classify`` is called."""
    threading.Thread(target=_identifier, name="babelclip-language", daemon=True).start()


def forget() -> None:
    """Close the model; the next ``classify`` opens it again."""
    _open_identifier.cache_clear()


def _identifier() -> Any:
    """The model, opened by the first thread that needs it."""
    with _OPENING:
        return _open_identifier()


@cache
def _open_identifier() -> Any:
    from py3langid.langid import LanguageIdentifier

    folder = settings().home / "languages" / f"py3langid-{metadata.version('py3langid')}"
    table, priors, classes, moves, rows, outputs = _unpacked_model(folder)
    return LanguageIdentifier(
        np.asarray(table),
        np.asarray(priors),
        classes.tolist(),
        moves.data,
        outputs.tolist(),
        norm_probs=True,
        tk_row=rows.tolist(),
    )


def _unpacked_model(folder: Path) -> "Sequence[NDArray[Any]]":
    """The arrays of the model, mapped from files; unpacked if the files are missing or damaged."""
    try:
        return [np.load(folder / f"{name}.npy", mmap_mode="r") for name in ARRAYS]
    except (OSError, ValueError):
        pass
    from py3langid.langid import MODEL_DIR, MODEL_FILE
    from py3langid.modelio import load_model

    arrays = [np.asarray(array) for array in load_model(MODEL_DIR / MODEL_FILE)]
    draft = folder.with_name(f"{folder.name}.{secrets.token_hex(8)}")
    try:
        draft.mkdir(parents=True)
        for name, array in zip(ARRAYS, arrays, strict=True):
            np.save(draft / f"{name}.npy", array)
        shutil.rmtree(folder, ignore_errors=True)
        draft.rename(folder)
    except OSError:
        shutil.rmtree(draft, ignore_errors=True)
    return arrays
