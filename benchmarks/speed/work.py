"""What an engine was made ready to do, whoever it is."""

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from babelclip.errors import InputError
from benchmarks.speed.fixtures import Fixtures

HITS = 10
"""How many photos a search is asked for."""


@dataclass(frozen=True, slots=True)
class Work:
    """A task that is ready: ``run`` is timed, on what ``inputs`` gives for the number of the call.

    ``rows`` is how many texts, pictures or files a call does; ``flops`` its operations, where it knows them itself;
    ``process`` the number of the process that does it, where that is another.
    """

    rows: int
    inputs: Callable[[int], Any]
    run: Callable[[Any], object]
    flops: int | None = None
    note: str = ""
    process: int | None = None


@dataclass(frozen=True, slots=True)
class Encoders:
    """What an engine does: texts, pictures and paths of files to vectors, or to nothing it keeps."""

    texts: Callable[[list[str]], Any] | None = None
    pictures: Callable[[list[Any]], Any] | None = None
    paths: Callable[[list[Path]], Any] | None = None
    note: str = ""


def encoding_work(encoders: Encoders, task: str, fixtures: Fixtures) -> Work:
    """A task of any engine that is a call of one of its encoders.

    :param encoders: what the engine does
    :param task: text, query, images, tower, files or memory
    :param fixtures: what it works on
    :return: the task
    :raises InputError: if the engine does not do it
    """
    counts = fixtures.counts
    texts, pictures, paths = encoders.texts, encoders.pictures, encoders.paths
    if task in ("text", "query") and texts is not None:
        rows = counts.texts if task == "text" else 1
        return Work(rows, lambda i: fixtures.texts(i * rows, rows), texts, note=encoders.note)
    if task in ("images", "tower") and pictures is not None:
        decoded = fixtures.pictures(square=task == "tower")
        return Work(len(decoded), lambda _: [picture.copy() for picture in decoded], pictures, note=encoders.note)
    if task == "files" and paths is not None:
        files = fixtures.file_paths()
        return Work(len(files), lambda _: files, paths, note=encoders.note)
    if task == "memory" and texts is not None and paths is not None:
        files = fixtures.picture_paths()

        def serve(batch: list[str]) -> None:
            texts(batch)
            texts(batch[:1])
            paths(files)

        return Work(1, lambda i: fixtures.texts(i * counts.texts, counts.texts), serve, note=encoders.note)
    raise InputError(f"the task {task} is not one of this engine")
