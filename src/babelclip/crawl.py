"""Folders -> photo files."""

import os
from collections.abc import Callable, Iterator
from pathlib import Path

from babelclip.errors import InputError

PHOTO_SUFFIXES = frozenset(
    (
        ".jpg",
        ".jpeg",
        ".jpe",
        ".jfif",
        ".png",
        ".gif",
        ".webp",
        ".bmp",
        ".tif",
        ".tiff",
        ".heic",
        ".heif",
        ".avif",
        ".jp2",
    )
)


def photos_below(root: Path, on_error: Callable[[OSError], None]) -> Iterator[Path]:
    """The photo files at or below a path, in a fixed order; hidden folders and files are passed over.

    Links to folders are not followed, so a loop of links does no harm. A file that is named itself counts whatever
    its name is.

    :param root: a folder or a file
    :param on_error: is told of folders that cannot be read
    :yield: absolute paths
    :raises InputError: if there is nothing at that path
    """
    root = root.absolute()
    if root.is_file():
        yield root
        return
    if not root.is_dir():
        raise InputError(f"{root}: no such file or folder")
    for folder, folders, files in os.walk(root, onerror=on_error):
        folders[:] = sorted(name for name in folders if not name.startswith("."))
        for name in sorted(files):
            if not name.startswith(".") and os.path.splitext(name)[1].lower() in PHOTO_SUFFIXES:
                yield Path(folder, name)
