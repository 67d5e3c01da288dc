"""Bringing a catalog up to date with folders: files are looked at, hashed, encoded, and saved every few seconds."""

import hashlib
import os
import time
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, field
from pathlib import Path

from babelclip.batching import ordered_map
from babelclip.catalog import Catalog, Content, Known, Photo
from babelclip.crawl import photos_below
from babelclip.errors import ImageError
from babelclip.model import Model
from babelclip.settings import settings
from babelclip.vectors import FloatArray

SAVE_EVERY_SECONDS = 2.0
SAVE_EVERY_PHOTOS = 256
HASHED_AHEAD = 64


@dataclass(slots=True)
class IndexReport:
    """What happened to the files of one or more folders; ``failed`` holds (path, reason)."""

    added: int = 0
    unchanged: int = 0
    known_content: int = 0
    removed: int = 0
    failed: list[tuple[str, str]] = field(default_factory=list)


@dataclass(frozen=True, slots=True)
class IndexProgress:
    """How far indexing is: files settled so far, and files found in all."""

    done: int
    total: int


def bring_up_to_date(
    catalog: Catalog, model: Model, root: Path, *, progress: Callable[[IndexProgress], None] | None = None
) -> IndexReport:
    """Bring a catalog up to date with a folder: new and changed photos in, deleted ones out.

    What is done is kept even if the call is ended at any moment; the next call goes on from there.

    :param catalog: the catalog
    :param model: what makes its vectors
    :param root: a folder, or one photo
    :param progress: is told how far it is
    :return: what was done
    :raises InputError: if there is nothing at that path
    :raises CatalogError: if the catalog cannot be written
    """
    report = IndexReport()
    base = str(root.expanduser().absolute())
    unreadable: list[str] = []

    def note(error: OSError) -> None:
        unreadable.append(str(error.filename))
        report.failed.append((str(error.filename), error.strerror or str(error)))

    files = [str(path) for path in photos_below(Path(base), note)]
    unseen = tuple(folder + os.sep for folder in unreadable)
    gone = set(catalog.paths_below(base)) - set(files)
    gone = {path for path in gone if not path.startswith(unseen)}
    if gone:
        catalog.forget(gone)
    report.removed = len(gone)
    _add(catalog, model, files, catalog.known_files(base), report, progress)
    return report


def _add(
    catalog: Catalog,
    model: Model,
    files: list[str],
    known: dict[str, Known],
    report: IndexReport,
    progress: Callable[[IndexProgress], None] | None,
) -> None:
    """Read, hash and encode what is new among the files, and save as it goes."""
    writer = _Writer(catalog, report, progress, total=len(files))
    try:
        awaited: dict[Path, list[Photo]] = {}
        new = _new_contents(catalog, files, known, writer, awaited)
        for path, vector in model.stream_images(new):
            photos = awaited.pop(path)
            if _changed(photos[0]):
                writer.skip(photos, "changed while it was read; run again")
            elif isinstance(vector, ImageError):
                writer.content(photos, None, str(vector))
            else:
                writer.content(photos, vector, None)
    finally:
        writer.flush()


def _new_contents(
    catalog: Catalog,
    files: list[str],
    known: dict[str, Known],
    writer: "_Writer",
    awaited: dict[Path, list[Photo]],
) -> Iterator[Path]:
    """The photos whose content must be encoded; a copy of one that is under way waits beside it."""
    under_way: dict[bytes, Path] = {}
    for name, photo in ordered_map(lambda n: _look(n, known), files, workers=2, ahead=HASHED_AHEAD):
        if photo is None:
            writer.unchanged()
        elif photo.hash is None:
            writer.unreadable(photo)
        elif under_way.get(photo.hash) in awaited:
            awaited[under_way[photo.hash]].append(photo)
        elif catalog.has_content(photo.hash) or writer.holds(photo.hash):
            writer.known_content(photo)
        else:
            under_way[photo.hash] = Path(name)
            awaited[Path(name)] = [photo]
            yield Path(name)


class _Writer:
    """Gathers results, saves them every few seconds, and keeps the report."""

    def __init__(
        self,
        catalog: Catalog,
        report: IndexReport,
        progress: Callable[[IndexProgress], None] | None,
        total: int,
    ) -> None:
        self._catalog = catalog
        self._report = report
        self._progress = progress
        self._total = total
        self._done = 0
        self._photos: list[Photo] = []
        self._contents: dict[bytes, Content] = {}
        self._saved_at = time.monotonic()

    def unchanged(self) -> None:
        self._report.unchanged += 1
        self._step(1)

    def known_content(self, photo: Photo) -> None:
        self._report.known_content += 1
        self._photos.append(photo)
        self._step(1)

    def unreadable(self, photo: Photo) -> None:
        if _storable(photo.path):
            self._photos.append(photo)
        self.skip([photo], photo.error or "")

    def skip(self, photos: Iterable[Photo], reason: str) -> None:
        for photo in photos:
            self._report.failed.append((photo.path, reason))
            self._step(1)

    def content(self, photos: list[Photo], vector: FloatArray | None, error: str | None) -> None:
        digest = photos[0].hash
        if digest is None:
            raise ValueError("a content has a hash")
        self._contents[digest] = Content(digest, vector, error)
        self._photos.extend(photos)
        if error is None:
            self._report.added += len(photos)
        else:
            self._report.failed.extend((photo.path, error) for photo in photos)
        self._step(len(photos))

    def holds(self, digest: bytes) -> bool:
        return digest in self._contents

    def _step(self, files: int) -> None:
        self._done += files
        if self._progress is not None:
            self._progress(IndexProgress(self._done, self._total))
        due = time.monotonic() - self._saved_at > SAVE_EVERY_SECONDS
        if due or len(self._photos) >= SAVE_EVERY_PHOTOS:
            self.flush()

    def flush(self) -> None:
        if self._photos:
            self._catalog.save(self._photos, self._contents.values())
        self._photos, self._contents = [], {}
        self._saved_at = time.monotonic()


def _look(name: str, known: dict[str, Known]) -> Photo | None:
    """A file's state and content hash, or None where it is as the catalog knows it."""
    size = mtime = 0
    try:
        if not _storable(name):
            return Photo(name, 0, 0, None, "its name is not valid UTF-8; rename it")
        stat = os.stat(name)
        size, mtime = stat.st_size, stat.st_mtime_ns
        before = known.get(name)
        if before is not None and (before.size, before.mtime_ns) == (size, mtime):
            return None
        if size > settings().max_image_bytes:
            limit = settings().max_image_bytes
            return Photo(
                name, size, mtime, None, f"{size} bytes, over the limit of {limit} (BABELCLIP_MAX_IMAGE_BYTES)"
            )
        with open(name, "rb") as file:
            return Photo(name, size, mtime, hashlib.file_digest(file, "sha256").digest())
    except OSError as error:
        return Photo(name, size, mtime, None, error.strerror or str(error))


def _storable(name: str) -> bool:
    """Whether a path can be kept as text; file names on Linux may be any bytes."""
    try:
        name.encode("utf-8")
    except UnicodeEncodeError:
        return False
    return True


def _changed(photo: Photo) -> bool:
    """Whether a file is no longer what it was when it was hashed."""
    try:
        stat = os.stat(photo.path)
    except OSError:
        return True
    return (stat.st_size, stat.st_mtime_ns) != (photo.size, photo.mtime_ns)
