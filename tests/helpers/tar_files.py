"""Tar files of photos under chosen names."""

import tarfile
from pathlib import Path


def tar_of(path: Path, photos: Path, *names: str) -> Path:
    """A tar file that has the photos in order under other names."""
    with tarfile.open(path, "w") as archive:
        for name, photo in zip(names, sorted(photos.rglob("*.*")), strict=False):
            archive.add(photo, name)
    return path
