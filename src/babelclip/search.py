"""Index: a photo collection that answers queries in words and pictures."""

import hashlib
import os
import time
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from types import TracebackType

from babelclip.batching import ordered_map
from babelclip.catalog import Catalog, Content, Photo
from babelclip.crawl import photos_below
from babelclip.errors import ImageError, InputError
from babelclip.model import Model
from babelclip.neighbours import ExactNeighbours
from babelclip.pixels import ImageSource
from babelclip.settings import settings
from babelclip.vectors import FloatArray, unit_rows

SAVE_EVERY_SECONDS = 2.0
SAVE_EVERY_PHOTOS = 256
HASHED_AHEAD = 64


@dataclass(frozen=True, slots=True)
class Hit:
    """A photo that answers a query: its rank from 1, its absolute path, and the cosine with the query in -1..1."""

    rank: int
    path: str
    score: float


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


class Index:
    """An open index. Use it from one thread at a time; several processes may share the file."""

    def __init__(self, catalog: Catalog, model: Model) -> None:
        """Join a catalog and its model; use ``Index.open``."""
        self._catalog = catalog
        self._model = model
        self._paths: list[str] = []
        self._neighbours: ExactNeighbours | None = None
        self._seen_change = -1

    @property
    def model(self) -> Model:
        """The model that its vectors are of."""
        return self._model

    @classmethod
    def open(cls, path: str | Path, model: Model) -> "Index":
        """Open an index file, or make one.

        :param path: the file
        :param model: the model that makes its vectors
        :return: the index
        :raises CatalogError: if the file cannot be used
        :raises ModelMismatchError: if it was made by another model
        """
        file = Path(path).expanduser()
        return cls(
            Catalog(file, model_name=model.name, fingerprint=model.fingerprint, dimension=model.dimension), model
        )

    def __enter__(self) -> "Index":
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def __len__(self) -> int:
        return self._catalog.count()

    def close(self) -> None:
        """Close the file."""
        self._catalog.close()

    def failures(self) -> list[tuple[str, str]]:
        """The files that could not be read.

        :return: (path, reason), in the order of paths
        """
        return self._catalog.failures()

    def add_folder(self, root: str | Path, *, progress: Callable[[IndexProgress], None] | None = None) -> IndexReport:
        """Bring the index up to date with a folder: new and changed photos in, deleted ones out.

        What is done is kept even if the call is ended at any moment; the next call goes on from there.

        :param root: a folder, or one photo
        :param progress: is told how far it is
        :return: what was done
        :raises InputError: if there is nothing at that path
        :raises CatalogError: if the index cannot be written
        """
        report = IndexReport()
        base = str(Path(root).expanduser().absolute())
        unreadable: list[str] = []

        def note(error: OSError) -> None:
            unreadable.append(str(error.filename))
            report.failed.append((str(error.filename), error.strerror or str(error)))

        files = [str(path) for path in photos_below(Path(base), note)]
        unseen = tuple(folder + os.sep for folder in unreadable)
        gone = set(self._catalog.paths_below(base)) - set(files)
        gone = {path for path in gone if not path.startswith(unseen)}
        if gone:
            self._catalog.forget(gone)
        report.removed = len(gone)
        self._add(files, self._catalog.known_files(base), report, progress)
        self._neighbours = None
        return report

    def _add(
        self,
        files: list[str],
        known: dict[str, tuple[int, int]],
        report: IndexReport,
        progress: Callable[[IndexProgress], None] | None,
    ) -> None:
        """Read, hash and encode what is new among the files, and save as it goes."""
        writer = _Writer(self._catalog, report, progress, total=len(files))
        try:
            awaited: dict[Path, list[Photo]] = {}
            new = self._new_contents(files, known, writer, awaited)
            for path, vector in self._model.stream_images(new):
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
        self,
        files: list[str],
        known: dict[str, tuple[int, int]],
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
            elif self._catalog.has_content(photo.hash) or writer.holds(photo.hash):
                writer.known_content(photo)
            else:
                under_way[photo.hash] = Path(name)
                awaited[Path(name)] = [photo]
                yield Path(name)

    def search(self, query: str | ImageSource, k: int = 10) -> list[Hit]:
        """The photos that fit best.

        :param query: a text in any of the model's languages, or an image (a Path, bytes, a PIL image or an array)
        :param k: how many, at least 1
        :return: the best first; fewer where the index holds fewer
        :raises InputError: if the text is blank, k is below 1, or the image cannot be used
        """
        if isinstance(query, str) and not query.strip():
            raise InputError("the query is empty")
        return self.nearest(self._model.encode(query), k)

    def similar(self, image: str | Path, k: int = 10) -> list[Hit]:
        """The photos that look most like one; the photo itself is left out.

        :param image: its path
        :param k: how many, at least 1
        :return: the most alike first
        :raises InputError: if k is below 1, or the image cannot be used
        """
        path = Path(image).expanduser().absolute()
        hits = [hit for hit in self.nearest(self._model.encode(path), k + 1) if hit.path != str(path)]
        return [Hit(rank, hit.path, hit.score) for rank, hit in enumerate(hits[:k], 1)]

    def nearest(self, vector: FloatArray, k: int = 10) -> list[Hit]:
        """The photos whose vectors are nearest to one.

        :param vector: float32 (d,), of any length but zero
        :param k: how many, at least 1
        :return: the nearest first
        :raises InputError: if k is below 1
        """
        if k < 1:
            raise InputError(f"k must be at least 1, not {k}")
        neighbours = self._current()
        positions, scores = neighbours.search(unit_rows(vector[None]), k)
        pairs = zip(positions[0], scores[0], strict=True)
        return [Hit(rank, self._paths[i], float(score)) for rank, (i, score) in enumerate(pairs, 1)]

    def _current(self) -> ExactNeighbours:
        """The neighbours, made anew when the catalog has changed."""
        change = self._catalog.change_counter()
        if self._neighbours is None or change != self._seen_change:
            self._paths, vectors = self._catalog.vectors()
            self._neighbours = ExactNeighbours(unit_rows(vectors))
            self._seen_change = change
        return self._neighbours


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


def _look(name: str, known: dict[str, tuple[int, int]]) -> Photo | None:
    """A file's state and content hash, or None where it is as the catalog knows it."""
    size = mtime = 0
    try:
        if not _storable(name):
            return Photo(name, 0, 0, None, "its name is not valid UTF-8; rename it")
        stat = os.stat(name)
        size, mtime = stat.st_size, stat.st_mtime_ns
        if known.get(name) == (size, mtime):
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
