"""Bringing a catalog up to date with folders: files are looked at, hashed, encoded, and saved every few seconds."""

import itertools
import os
import time
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np

from babelclip.catalog.catalog import Catalog, Content, Known, Photo
from babelclip.errors import ArchiveError, ImageError, InputError
from babelclip.indexing.scan import Look, look, look_inside, plain_file, storable
from babelclip.media import raw
from babelclip.media.archives import archive_of, file_of, members
from babelclip.media.crawl import Found, folders_below, kind_of, settled
from babelclip.media.images import ImageSource
from babelclip.media.metadata import Facts
from babelclip.media.path_rules import DEFAULT_RULES, PathRules, SkipReason
from babelclip.media.video import EVERY_SECONDS, frames
from babelclip.models.model import Model
from babelclip.pipeline import chunks, ordered_map
from babelclip.vectors import FloatArray

SAVE_EVERY_SECONDS = 2.0
SAVE_EVERY_PHOTOS = 256
HASHED_AHEAD = 64
FRAMES_AT_ONCE = 32
NO_VECTOR = "the encoder gave no vector for it; run again"
MEMBER_BYTES_AT_ONCE = 64 * 2**20
"""Members of an archive are in memory until they are encoded; this many bytes of them, and one more, at once."""


@dataclass(slots=True)
class IndexReport:
    """What happened to the files of one or more folders; ``failed`` holds (path, reason).

    ``skipped`` holds (path, reason, files) of folders and files that were passed over: ``system`` or ``excluded``, and
    how many photos, videos and archives they are.
    """

    added: int = 0
    unchanged: int = 0
    known_content: int = 0
    removed: int = 0
    failed: list[tuple[str, str]] = field(default_factory=list)
    skipped: list[tuple[str, SkipReason, int]] = field(default_factory=list)


@dataclass(frozen=True, slots=True)
class IndexProgress:
    """How far indexing is: files settled so far, and files found in all (those in archives as these are opened)."""

    done: int
    total: int


@dataclass(slots=True)
class _Job:
    """A content that is being encoded: its sha256, the files that have it, and what they say of themselves."""

    hash: bytes
    photos: list[Photo]
    facts: Facts


def bring_up_to_date(
    catalog: Catalog,
    model: Model,
    root: Path,
    *,
    every_seconds: float = EVERY_SECONDS,
    rules: PathRules = DEFAULT_RULES,
    rules_from: Path | None = None,
    progress: Callable[[IndexProgress], None] | None = None,
) -> IndexReport:
    """Bring a catalog up to date with a folder: new and changed photos and videos in, deleted ones out.

    What is done is kept even if the call is ended at any moment; the next call goes on from there.

    :param catalog: the catalog
    :param model: what makes its vectors
    :param root: a folder, a photo, a video, or an archive of photos
    :param every_seconds: the time between two frames of a video; 0 leaves new videos out
    :param rules: what is passed over; photos in the catalog that it passes over now are removed from it
    :param rules_from: the folder from which the rules read paths; None for the root
    :param progress: is told how far it is
    :return: what was done
    :raises InputError: if there is nothing at that path
    :raises CatalogError: if the catalog cannot be written
    """
    base = settled(root)
    return _Run(catalog, model, base, every_seconds, rules, rules_from or base, progress).go()


class _Run:
    """One call of bring_up_to_date: pictures first, then archives, then videos, then what is gone."""

    def __init__(
        self,
        catalog: Catalog,
        model: Model,
        base: Path,
        every_seconds: float,
        rules: PathRules,
        rules_from: Path,
        progress: Callable[[IndexProgress], None] | None,
    ) -> None:
        self._catalog = catalog
        self._model = model
        self._base = base
        self._every_seconds = every_seconds
        self._rules = rules
        self._rules_from = rules_from
        self._report = IndexReport()
        self._writer = _Writer(catalog, self._report, progress)
        self._archives: list[str] = []
        self._videos: list[tuple[Found, Known | None]] = []
        self._folders: set[str] = set()
        self._unreadable: list[str] = []
        self._gone: list[str] = []
        self._under_way: dict[bytes, _Job] = {}

    def go(self) -> IndexReport:
        self._writer.total = sum(
            sum(self._wanted(found) for found in files)
            for _, files in self._walk(lambda error: None, on_skip=self._count_skipped)
        )
        try:
            looks = ordered_map(_look, self._pictures(), workers=2, ahead=HASHED_AHEAD)
            self._encode(self._new(seen for _, seen in looks))
            for archive in self._archives:
                self._archive(archive)
            for found, known in self._videos:
                self._video(found, known)
            if not self._base.is_file():
                self._find_lost_folders()
        finally:
            self._writer.flush()
            self._forget()
        self._catalog.purge()
        return self._report

    def _walk(
        self, on_error: Callable[[OSError], None], on_skip: Callable[[str, SkipReason], None] | None = None
    ) -> Iterator[tuple[str, list[Found]]]:
        return folders_below(self._base, on_error, rules=self._rules, rules_from=self._rules_from, on_skip=on_skip)

    def _count_skipped(self, path: str, reason: SkipReason) -> None:
        """Count the photos and videos at or below a path that is passed over; hidden ones are not counted."""
        if reason == "hidden":
            return
        names = (name for _, _, files in os.walk(path) for name in files) if Path(path).is_dir() else (path,)
        files = sum(kind_of(name) is not None for name in names)
        if files:
            self._report.skipped.append((path, reason, files))

    def _wanted(self, found: Found) -> bool:
        """Whether a file counts as one; archives count by their members."""
        return found.kind == "image" or (found.kind == "video" and self._every_seconds > 0)

    def _pictures(self) -> Iterator[tuple[Found, Known | None]]:
        """The pictures, with what is known of them; other kinds are kept for later, and what is gone is noted."""

        def note(error: OSError) -> None:
            self._unreadable.append(str(error.filename))
            self._report.failed.append((str(error.filename), error.strerror or str(error)))

        one = self._base.is_file()
        for folder, files in self._walk(note):
            names = {found.path for found in files}
            if storable(folder):
                known = self._catalog.known_files(files[0].path) if one else self._catalog.known_in(folder)
                if not one:
                    self._gone.extend(path for path in self._catalog.paths_in(folder) if path not in names)
            else:
                known = {}
            self._folders.add(folder)
            for found in files:
                if found.kind == "archive":
                    self._archives.append(found.path)
                elif found.kind == "image":
                    yield found, known.get(found.path)
                elif self._wanted(found):
                    self._videos.append((found, known.get(found.path)))

    def _new(self, looks: Iterable[Look]) -> Iterator[tuple[bytes, ImageSource]]:
        """The pictures whose content must be encoded, each with the hash of that content."""
        for seen in looks:
            job = self._begin(seen)
            if job is None:
                continue
            path = job.photos[0].path
            if seen.data is None:
                yield job.hash, Path(path)
                continue
            try:
                picture = raw.as_picture(seen.data, path)
            except ImageError as error:
                self._done(self._under_way.pop(job.hash), None, str(error))
            else:
                yield job.hash, picture

    def _begin(self, seen: Look) -> _Job | None:
        """Start the job of a file whose content must be encoded; None where it needs none, or a copy has one."""
        photo = seen.photo
        if photo is None:
            self._writer.unchanged()
        elif seen.same:
            self._writer.facts(photo, seen.facts)
        elif photo.hash is None:
            self._writer.unreadable(photo)
        elif photo.hash in self._under_way:
            self._under_way[photo.hash].photos.append(photo)
        elif self._catalog.has_content(photo.hash) or self._writer.holds(photo.hash):
            error = self._writer.error_of(photo.hash) or self._catalog.error_of(photo.hash)
            self._writer.known_content(photo, seen.facts, error)
        else:
            job = self._under_way[photo.hash] = _Job(photo.hash, [photo], seen.facts)
            return job
        return None

    def _encode(self, sources: Iterator[tuple[bytes, ImageSource]]) -> None:
        """Encode pictures. A vector belongs to the content whose hash comes with it, in whatever order they come."""
        # Without a picture the model's image side is not even made.
        first = list(itertools.islice(sources, 1))
        for digest, vector in self._model.stream_images(itertools.chain(first, sources)) if first else ():
            job = self._under_way.pop(digest, None)
            if job is None:
                continue
            if isinstance(vector, ImageError):
                self._done(job, None, str(vector))
            else:
                self._done(job, vector, None)
        while self._under_way:
            self._writer.skip(self._under_way.popitem()[1].photos, NO_VECTOR)

    def _done(self, job: _Job, vector: FloatArray | None, error: str | None, at_ms: tuple[int, ...] = ()) -> None:
        """Hand over what a content became."""
        if _changed(job.photos[0]):
            self._writer.skip(job.photos, "changed while it was read; run again")
        else:
            self._writer.content(job, vector, error, at_ms)

    def _archive(self, archive: str) -> None:
        """The photos in an archive; one that is as it was when it was last read to its end, or to its damage, is not
        opened.
        """
        if not storable(archive):
            self._writer.skip([Photo(archive, 0, 0, None)], "its name is not valid UTF-8; rename it")
            return
        seen: set[str] = set()
        damaged: set[str] = set()
        size = mtime = 0
        try:
            size, mtime = plain_file(archive)
            listed = self._catalog.paths_below(archive)
            if self._catalog.finished_archive(archive) == (size, mtime):
                self._writer.unchanged(len(listed))
                return
            known = self._catalog.known_files(archive)
            for window in _windows(self._looks_inside(archive, known, mtime, seen, damaged)):
                self._encode(self._new(window))
        except (OSError, InputError) as error:
            reason = error.strerror if isinstance(error, OSError) and error.strerror else str(error)
            self._writer.unreadable(Photo(archive, size, mtime, None, reason))
            if not isinstance(error, ArchiveError):
                return
            self._writer.flush()
        else:
            self._writer.flush()
            gone = [path for path in listed if path not in seen]
            self._catalog.forget([archive, *gone])
            self._report.removed += sum(path != archive for path in gone)
        if seen <= self._catalog.known_files(archive).keys() | damaged:
            self._catalog.finish_archive(archive, size, mtime)

    def _looks_inside(
        self, archive: str, known: dict[str, Known], mtime_ns: int, seen: set[str], damaged: set[str]
    ) -> Iterator[Look]:
        """A look at every member; the paths of all, and of those that are damaged, are noted."""
        for member in members(archive):
            seen.add(member.path)
            self._writer.total += 1
            found = look_inside(member, known.get(member.path), mtime_ns)
            if found.damaged:
                damaged.add(member.path)
            yield found

    def _video(self, found: Found, known: Known | None) -> None:
        """The frames of a video."""
        job = self._begin(look(found, known))
        if job is None:
            return
        del self._under_way[job.hash]
        try:
            times, vectors = self._frame_vectors(found.path)
        except ImageError as error:
            self._done(job, None, str(error))
            return
        if vectors.keys() != set(times):
            self._writer.skip(job.photos, NO_VECTOR)
            return
        times = sorted(vectors)
        self._done(job, np.stack([vectors[at_ms] for at_ms in times]), None, tuple(times))

    def _frame_vectors(self, path: str) -> tuple[list[int], dict[int, FloatArray]]:
        """The times of a video's frames in ms, and the vectors of the frames by their times."""
        times: list[int] = []
        vectors: dict[int, FloatArray] = {}
        for batch in chunks(frames(path, self._every_seconds), FRAMES_AT_ONCE):
            times += [at_ms for at_ms, _ in batch]
            for at_ms, vector in self._model.stream_images(batch):
                if isinstance(vector, ImageError):
                    raise vector
                vectors[at_ms] = vector
        return times, vectors

    def _find_lost_folders(self) -> None:
        """Note as gone what is in folders that are not there any more."""
        archives = set(self._archives)
        for folder in self._catalog.folders_below(str(self._base)) if storable(str(self._base)) else ():
            if folder not in self._folders and archive_of(folder + "/") not in archives:
                self._gone.extend(self._catalog.paths_in(folder))

    def _forget(self) -> None:
        """Take out what is gone: not what cannot be looked at, nor what another process has just added."""
        unseen = tuple(folder + os.sep for folder in self._unreadable)
        gone = [
            path
            for path in self._gone
            if not path.startswith(unseen) and (self._is_skipped(path) or not os.path.lexists(file_of(path)))
        ]
        if gone:
            self._catalog.forget(gone)
            self._report.removed += len(gone)

    def _is_skipped(self, path: str) -> bool:
        """Whether the rules pass a file over, or the archive that it is in."""
        file = file_of(path)
        return file.is_relative_to(self._rules_from) and self._rules.reason(
            file.relative_to(self._rules_from).parts
        ) in ("system", "excluded")


def _windows(looks: Iterator[Look]) -> Iterator[list[Look]]:
    """Looks in lists, so that little of an archive is in memory at once; what came before damage comes before it."""
    window: list[Look] = []
    held = 0
    try:
        for one in looks:
            window.append(one)
            held += len(one.data or b"")
            if held >= MEMBER_BYTES_AT_ONCE or len(window) >= SAVE_EVERY_PHOTOS:
                yield window
                window, held = [], 0
    except InputError:
        yield window
        raise
    yield window


class _Writer:
    """Gathers results, saves them every few seconds, and keeps the report."""

    def __init__(self, catalog: Catalog, report: IndexReport, progress: Callable[[IndexProgress], None] | None) -> None:
        self.total = 0
        self._catalog = catalog
        self._report = report
        self._progress = progress
        self._done = 0
        self._photos: list[Photo] = []
        self._contents: dict[bytes, Content] = {}
        self._facts: list[tuple[Photo, Facts]] = []
        self._saved_at = time.monotonic()

    def unchanged(self, files: int = 1) -> None:
        self._report.unchanged += files
        self._step(files)

    def facts(self, photo: Photo, facts: Facts) -> None:
        self._facts.append((photo, facts))
        self.unchanged()

    def known_content(self, photo: Photo, facts: Facts, error: str | None) -> None:
        if error is None:
            self._report.known_content += 1
        else:
            self._report.failed.append((photo.path, error))
        self._photos.append(photo)
        self._facts.append((photo, facts))
        self._step(1)

    def unreadable(self, photo: Photo) -> None:
        if storable(photo.path):
            self._photos.append(photo)
        self.skip([photo], photo.error or "")

    def skip(self, photos: Iterable[Photo], reason: str) -> None:
        for photo in photos:
            self._report.failed.append((photo.path, reason))
            self._step(1)

    def content(self, job: _Job, vector: FloatArray | None, error: str | None, at_ms: tuple[int, ...]) -> None:
        self._contents[job.hash] = Content(job.hash, vector, error, job.facts, at_ms)
        self._photos.extend(job.photos)
        if error is None:
            self._report.added += len(job.photos)
        else:
            self._report.failed.extend((photo.path, error) for photo in job.photos)
        self._step(len(job.photos))

    def holds(self, digest: bytes) -> bool:
        return digest in self._contents

    def error_of(self, digest: bytes) -> str | None:
        return self._contents[digest].error if digest in self._contents else None

    def _step(self, files: int) -> None:
        self._done += files
        self.total = max(self.total, self._done)
        if self._progress is not None:
            self._progress(IndexProgress(self._done, self.total))
        due = time.monotonic() - self._saved_at > SAVE_EVERY_SECONDS
        if due or len(self._photos) + len(self._facts) >= SAVE_EVERY_PHOTOS:
            self.flush()

    def flush(self) -> None:
        if self._photos or self._facts:
            self._catalog.save(self._photos, self._contents.values(), self._facts)
        self._photos, self._contents, self._facts = [], {}, []
        self._saved_at = time.monotonic()


def _look(item: tuple[Found, Known | None]) -> Look:
    """A look at a picture."""
    return look(*item)


def _changed(photo: Photo) -> bool:
    """Whether a file, or the archive that it is in, is no longer what it was when it was hashed."""
    file = str(file_of(photo.path))
    try:
        stat = os.stat(file)
    except OSError:
        return True
    return stat.st_mtime_ns != photo.mtime_ns or (file == photo.path and stat.st_size != photo.size)
