"""Crawl: listing of the photos, videos and archives in folders."""

import os
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from babelclip.errors import InputError
from babelclip.media import raw
from babelclip.media.path_rules import DEFAULT_RULES, PathRules, SkipReason

_PHOTO_KINDS = "jpg jpeg jpe jfif png gif webp bmp tif tiff heic heif avif jp2"
_VIDEO_KINDS = "mp4 m4v mov mkv webm avi mpg mpeg mts m2ts 3gp wmv"
PHOTO_SUFFIXES = frozenset("." + kind for kind in _PHOTO_KINDS.split()) | raw.SUFFIXES
VIDEO_SUFFIXES = frozenset("." + kind for kind in _VIDEO_KINDS.split())
ARCHIVE_SUFFIXES = (".zip", ".cbz", ".tar", ".tar.gz", ".tgz", ".tar.bz2", ".tar.xz")
SIDECAR_SUFFIX = ".xmp"

MediaKind = Literal["image", "video", "archive"]


@dataclass(frozen=True, slots=True)
class MediaFile:
    """A file that can be indexed: its absolute path, its kind by its name, and the XMP file beside it."""

    path: str
    kind: MediaKind
    sidecar: str | None = None


def kind_of(name: str) -> MediaKind | None:
    """Determine the kind of a file by its name.

    :param name: a file name or path
    :return: the kind; None for other files
    """
    lower = name.lower()
    suffix = os.path.splitext(lower)[1]
    if suffix in PHOTO_SUFFIXES:
        return "image"
    if suffix in VIDEO_SUFFIXES:
        return "video"
    return "archive" if lower.endswith(ARCHIVE_SUFFIXES) else None


def canonical_path(path: Path) -> Path:
    """Compute the canonical path of a file or folder, so that ../Pictures and ~/Pictures are one.

    :param path: any path
    :return: an absolute one without ``..`` and ``~``; links in it stay, unless ``..`` goes back over one
    """
    whole = path.expanduser().absolute()
    if ".." not in whole.parts:
        return whole
    short = Path(os.path.normpath(whole))
    real = Path(os.path.realpath(whole))
    return short if os.path.realpath(short) == str(real) else real


def photos_below(
    root: Path, on_error: Callable[[OSError], None], *, rules: PathRules = DEFAULT_RULES
) -> Iterator[Path]:
    """List the photo files at or below a path, in a fixed order; hidden and system folders are passed over.

    Links to folders are not followed, so a loop of links does no harm. A file that is named itself counts whatever
    its name is.

    :param root: a folder or a file
    :param on_error: is called with the errors of folders that cannot be read
    :param rules: what is passed over
    :yield: absolute paths
    :raises InputError: if the path does not exist
    """
    root = canonical_path(root)
    if root.is_file():
        yield root
        return
    for _, files in folders_below(root, on_error, rules=rules):
        yield from (Path(file.path) for file in files if file.kind == "image")


def folders_below(
    root: Path,
    on_error: Callable[[OSError], None],
    *,
    rules: PathRules = DEFAULT_RULES,
    rules_from: Path | None = None,
    on_skip: Callable[[str, SkipReason], None] | None = None,
) -> Iterator[tuple[str, list[MediaFile]]]:
    """List the folders at or below a path, in a fixed order, each with what may be indexed, as ``photos_below`` does.

    :param root: a folder or a file
    :param on_error: is called with the errors of folders that cannot be read
    :param rules: what is passed over
    :param rules_from: the folder from which the rules read paths, above the root or the root itself
    :param on_skip: is called with every folder, photo, video and archive that is passed over, and why
    :yield: a folder's absolute path, and its files by name
    :raises InputError: if the path does not exist
    """
    root = canonical_path(root)
    if root.is_file():
        folder = str(root.parent)
        sidecar = _sidecar(folder, root.name, _names(root.parent))
        yield folder, [MediaFile(str(root), kind_of(root.name) or "image", sidecar)]
        return
    if not root.is_dir():
        raise InputError(f"{root}: no such file or folder")
    for folder, folders, files in os.walk(root, onerror=on_error):
        parts = Path(folder).relative_to(rules_from or root).parts
        reasons = {name: rules.reason((*parts, name)) for name in (*folders, *files)}
        if on_skip is not None:
            for name in (*folders, *filter(kind_of, files)):
                if (reason := reasons[name]) is not None:
                    on_skip(str(Path(folder, name)), reason)
        folders[:] = sorted(name for name in folders if reasons[name] is None)
        names = set(files)
        kinds = ((name, kind_of(name)) for name in sorted(files) if reasons[name] is None)
        yield (
            folder,
            [MediaFile(str(Path(folder, name)), kind, _sidecar(folder, name, names)) for name, kind in kinds if kind],
        )


def _names(folder: Path) -> set[str]:
    """List the names in a folder; empty if it cannot be read."""
    try:
        return {path.name for path in folder.iterdir()}
    except OSError:
        return set()


def _sidecar(folder: str, name: str, names: set[str]) -> str | None:
    """Find the XMP file beside a file: a.jpg.xmp (digiKam, darktable) before a.xmp (Lightroom)."""
    for stem in (name, os.path.splitext(name)[0]):
        for suffix in (SIDECAR_SUFFIX, SIDECAR_SUFFIX.upper()):
            if stem + suffix in names:
                return str(Path(folder, stem + suffix))
    return None
