"""Folders that systems, not people, put pictures into: recycle bins, thumbnails, snapshots of a file system."""

from fnmatch import fnmatchcase
from pathlib import PurePath

SYSTEM_FOLDERS = (
    # Recycle bins: Windows, Linux desktops, macOS, Synology, QNAP.
    "$recycle.bin",
    "recycler",
    "#recycle",
    "@recycle",
    ".trash*",
    ".recycle",
    # File systems.
    "system volume information",
    "lost+found",
    "#snapshot",
    ".snapshot*",
    # Thumbnails and previews: Synology, QNAP, phones and desktops, iTunes, Lightroom, Apple Photos.
    "@eadir",
    ".@__thumb",
    ".thumbnails",
    "thumbnails",
    "ipod photo cache",
    "* previews.lrdata",
    "* smart previews.lrdata",
    ".thumb*",
)
"""Names in lower case; ``*`` stands for any letters."""


def is_system_folder(name: str) -> bool:
    """Whether a folder of this name is a system's.

    :param name: of the folder alone, without those above it
    :return: True for one of SYSTEM_FOLDERS, in capitals or not
    """
    return any(fnmatchcase(name.lower(), pattern) for pattern in SYSTEM_FOLDERS)


def in_system_folder(path: str) -> bool:
    """Whether a file lies in a folder of a system, or below one.

    :param path: absolute
    :return: True if one of the folders above it is
    """
    return any(is_system_folder(part) for part in PurePath(path).parts[:-1])
