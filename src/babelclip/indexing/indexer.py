"""Indexing: files are scanned, hashed and encoded, and the results are saved every few seconds.

A vector is matched to its content by the sha256 that travels through the decoder and the encoder with the picture.
"""

import itertools
import os
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from babelclip.catalog.catalog import Catalog
from babelclip.catalog.records import ContentRecord, FileState, Photo
from babelclip.errors import ArchiveError, ImageError, InputError
from babelclip.indexing.report import IndexProgress, IndexReport
from babelclip.indexing.scan import ScanResult, has_changed, is_utf8, scan_file, scan_member, stat_regular_file
from babelclip.indexing.writer import SAVE_EVERY_PHOTOS, IndexWriter
from babelclip.media import raw
from babelclip.media.archives import archive_of, file_of, members
from babelclip.media.crawl import MediaFile, canonical_path, folders_below, kind_of
from babelclip.media.images import ImageInput
from babelclip.media.metadata import Metadata
from babelclip.media.path_rules import DEFAULT_RULES, PathRules, SkipReason
from babelclip.media.video import EVERY_SECONDS, frames
from babelclip.models.model import Model
from babelclip.pipeline import chunks, ordered_map
from babelclip.vectors import FloatArray

SCANNED_AHEAD = 64
FRAMES_AT_ONCE = 32
MEMBER_BYTES_AT_ONCE = 64 * 2**20
"""Members of an archive stay in memory until they are encoded; at most this many bytes, and one member more."""
NO_VECTOR = "the encoder gave no vector for it; run again"
CHANGED = "changed while it was read; run again"


@dataclass(slots=True)
class _Job:
    """A content that is being encoded: its sha256, the photos that have it, and its metadata."""

    hash: bytes
    photos: list[Photo]
    metadata: Metadata


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
    """Bring a catalog up to date with a folder: add new and changed photos and videos, remove deleted ones.

    Results are saved as they come: after an interruption the next call continues from there.

    :param catalog: the catalog
    :param model: the model that encodes
    :param root: a folder, a photo, a video, or an archive of photos
    :param every_seconds: seconds between two frames of a video; 0 leaves new videos out
    :param rules: paths to skip; photos in the catalog that the rules skip now are removed from it
    :param rules_from: the folder that the rules' paths are relative to; None for the root
    :param progress: called after every file
    :return: number of files by outcome
    :raises InputError: if the path does not exist
    :raises CatalogError: if the catalog cannot be written
    """
    canonical = canonical_path(root)
    return _IndexRun(catalog, model, canonical, every_seconds, rules, rules_from or canonical, progress).run()


class _IndexRun:
    """One run: pictures first, then archives, then videos, then the removal of deleted files."""

    def __init__(
        self,
        catalog: Catalog,
        model: Model,
        root: Path,
        every_seconds: float,
        rules: PathRules,
        rules_from: Path,
        progress: Callable[[IndexProgress], None] | None,
    ) -> None:
        self._catalog = catalog
        self._model = model
        self._root = root
        self._every_seconds = every_seconds
        self._rules = rules
        self._rules_from = rules_from
        self._report = IndexReport()
        self._writer = IndexWriter(catalog, self._report, progress)
        self._archives: list[str] = []
        self._videos: list[tuple[MediaFile, FileState | None]] = []
        self._folders: set[str] = set()
        self._unreadable_folders: list[str] = []
        self._missing: list[str] = []
        self._jobs: dict[bytes, _Job] = {}

    def run(self) -> IndexReport:
        self._writer.total = sum(
            sum(self._is_counted(file) for file in files)
            for _, files in self._walk(lambda error: None, on_skip=self._count_skipped)
        )
        try:
            scans = ordered_map(_scan, self._pictures(), workers=2, ahead=SCANNED_AHEAD)
            self._encode(self._to_encode(scan for _, scan in scans))
            for archive in self._archives:
                self._index_archive(archive)
            for file, state in self._videos:
                self._index_video(file, state)
            if not self._root.is_file():
                self._find_deleted_folders()
        finally:
            self._writer.flush()
            self._remove_missing()
        self._catalog.purge()
        return self._report

    def _walk(
        self, on_error: Callable[[OSError], None], on_skip: Callable[[str, SkipReason], None] | None = None
    ) -> Iterator[tuple[str, list[MediaFile]]]:
        return folders_below(self._root, on_error, rules=self._rules, rules_from=self._rules_from, on_skip=on_skip)

    def _count_skipped(self, path: str, reason: SkipReason) -> None:
        """Report a skipped path with the number of photos and videos at or below it; hidden paths are not reported."""
        if reason == "hidden":
            return
        names = (name for _, _, files in os.walk(path) for name in files) if Path(path).is_dir() else (path,)
        files = sum(kind_of(name) is not None for name in names)
        if files:
            self._report.skipped.append((path, reason, files))

    def _is_counted(self, file: MediaFile) -> bool:
        """Whether a file counts for the progress; archives count by their members."""
        return file.kind == "image" or (file.kind == "video" and self._every_seconds > 0)

    def _pictures(self) -> Iterator[tuple[MediaFile, FileState | None]]:
        """List the pictures and their states; archives, videos and missing paths are collected on the way."""

        def note(error: OSError) -> None:
            self._unreadable_folders.append(str(error.filename))
            self._report.failed.append((str(error.filename), error.strerror or str(error)))

        single = self._root.is_file()
        photos = self._catalog.photos
        for folder, files in self._walk(note):
            states: dict[str, FileState] = {}
            if is_utf8(folder):
                states = photos.states_below(files[0].path) if single else photos.states_in(folder)
                if not single:
                    present = {file.path for file in files}
                    self._missing.extend(path for path in photos.paths_in(folder) if path not in present)
            self._folders.add(folder)
            for file in files:
                if file.kind == "archive":
                    self._archives.append(file.path)
                elif file.kind == "image":
                    yield file, states.get(file.path)
                elif self._is_counted(file):
                    self._videos.append((file, states.get(file.path)))

    def _to_encode(self, scans: Iterable[ScanResult]) -> Iterator[tuple[bytes, ImageInput]]:
        """Select the pictures whose content must be encoded, each with the hash of that content."""
        for scan in scans:
            job = self._start_job(scan)
            if job is None:
                continue
            path = job.photos[0].path
            if scan.content is None:
                yield job.hash, Path(path)
                continue
            try:
                picture = raw.as_picture(scan.content, path)
            except ImageError as error:
                self._finish_job(self._jobs.pop(job.hash), None, str(error))
            else:
                yield job.hash, picture

    def _start_job(self, scan: ScanResult) -> _Job | None:
        """Start the job of a content that must be encoded; None if there is nothing to encode, or a copy has a job."""
        photo = scan.photo
        if photo is None:
            self._writer.unchanged()
        elif scan.metadata_only:
            self._writer.new_metadata(photo, scan.metadata)
        elif photo.hash is None:
            self._writer.unreadable(photo)
        elif photo.hash in self._jobs:
            self._jobs[photo.hash].photos.append(photo)
        elif self._writer.has_content(photo.hash):
            self._writer.known_content(photo, scan.metadata)
        else:
            job = self._jobs[photo.hash] = _Job(photo.hash, [photo], scan.metadata)
            return job
        return None

    def _encode(self, pictures: Iterator[tuple[bytes, ImageInput]]) -> None:
        """Encode pictures and finish their jobs; report jobs without a vector, for the next run to try again."""
        # The image tower is compiled only if there is a picture.
        first = list(itertools.islice(pictures, 1))
        for digest, vector in self._model.stream_images(itertools.chain(first, pictures)) if first else ():
            job = self._jobs.pop(digest, None)
            if job is None:
                continue
            if isinstance(vector, ImageError):
                self._finish_job(job, None, str(vector))
            else:
                self._finish_job(job, vector, None)
        while self._jobs:
            self._writer.skip(self._jobs.popitem()[1].photos, NO_VECTOR)

    def _finish_job(self, job: _Job, vector: FloatArray | None, error: str | None, at_ms: tuple[int, ...] = ()) -> None:
        """Save the result of a job, unless the file was changed meanwhile."""
        photo = job.photos[0]
        if has_changed(photo, str(file_of(photo.path))):
            self._writer.skip(job.photos, CHANGED)
        else:
            self._writer.content(ContentRecord(job.hash, vector, error, job.metadata, at_ms), job.photos)

    def _index_archive(self, archive: str) -> None:
        """Index the photos in an archive. It is not opened if it is unchanged since it was read to its end, or to its
        damage.
        """
        if not is_utf8(archive):
            self._writer.skip([Photo(archive, 0, 0, None)], "its name is not valid UTF-8; rename it")
            return
        photos = self._catalog.photos
        present: set[str] = set()
        damaged: set[str] = set()
        size = mtime_ns = 0
        try:
            size, mtime_ns = stat_regular_file(archive)
            listed = photos.paths_below(archive)
            if photos.finished_archive(archive) == (size, mtime_ns):
                self._writer.unchanged(len(listed))
                return
            states = photos.states_below(archive)
            for window in _windows(self._scan_members(archive, states, mtime_ns, present, damaged)):
                self._encode(self._to_encode(window))
        except (OSError, InputError) as error:
            reason = error.strerror if isinstance(error, OSError) and error.strerror else str(error)
            self._writer.unreadable(Photo(archive, size, mtime_ns, None, reason))
            if not isinstance(error, ArchiveError):
                return
            self._writer.flush()
        else:
            self._writer.flush()
            missing = [path for path in listed if path not in present]
            self._catalog.forget([archive, *missing])
            self._report.removed += sum(path != archive for path in missing)
        if present <= photos.states_below(archive).keys() | damaged:
            self._catalog.finish_archive(archive, size, mtime_ns)

    def _scan_members(
        self, archive: str, states: dict[str, FileState], mtime_ns: int, present: set[str], damaged: set[str]
    ) -> Iterator[ScanResult]:
        """Scan the members of an archive; the paths of all, and of the damaged ones, are added to the sets."""
        for member in members(archive):
            present.add(member.path)
            self._writer.total += 1
            scan = scan_member(member, states.get(member.path), mtime_ns)
            if scan.damaged:
                damaged.add(member.path)
            yield scan

    def _index_video(self, file: MediaFile, state: FileState | None) -> None:
        """Index the frames of a video; if one has no vector, the next run tries the video again."""
        job = self._start_job(scan_file(file, state))
        if job is None:
            return
        del self._jobs[job.hash]
        try:
            times, vectors = self._frame_vectors(file.path)
        except ImageError as error:
            self._finish_job(job, None, str(error))
            return
        if vectors.keys() != times:
            self._writer.skip(job.photos, NO_VECTOR)
            return
        at_ms = tuple(sorted(vectors))
        self._finish_job(job, np.stack([vectors[time] for time in at_ms]), None, at_ms)

    def _frame_vectors(self, path: str) -> tuple[set[int], dict[int, FloatArray]]:
        """Encode the frames of a video: the times of all frames in ms, and the vectors by time."""
        times: set[int] = set()
        vectors: dict[int, FloatArray] = {}
        for batch in chunks(frames(path, self._every_seconds), FRAMES_AT_ONCE):
            times.update(at_ms for at_ms, _ in batch)
            for at_ms, vector in self._model.stream_images(batch):
                if isinstance(vector, ImageError):
                    raise vector
                vectors[at_ms] = vector
        return times, vectors

    def _find_deleted_folders(self) -> None:
        """Collect the paths in folders that no longer exist."""
        if not is_utf8(str(self._root)):
            return
        archives = set(self._archives)
        photos = self._catalog.photos
        for folder in photos.folders_below(str(self._root)):
            if folder not in self._folders and archive_of(folder + "/") not in archives:
                self._missing.extend(photos.paths_in(folder))

    def _remove_missing(self) -> None:
        """Remove missing files, but not those in unreadable folders, nor those another process has just added."""
        unreadable = tuple(folder + os.sep for folder in self._unreadable_folders)
        missing = [
            path
            for path in self._missing
            if not path.startswith(unreadable) and (self._is_skipped(path) or not os.path.lexists(file_of(path)))
        ]
        if missing:
            self._catalog.forget(missing)
            self._report.removed += len(missing)

    def _is_skipped(self, path: str) -> bool:
        """Whether the rules skip a file, or the archive that it is in."""
        file = file_of(path)
        return file.is_relative_to(self._rules_from) and self._rules.reason(
            file.relative_to(self._rules_from).parts
        ) in ("system", "excluded")


def _windows(scans: Iterator[ScanResult]) -> Iterator[list[ScanResult]]:
    """Group scans so that little of an archive is in memory at once; what precedes damage is given before the error."""
    window: list[ScanResult] = []
    held = 0
    try:
        for scan in scans:
            window.append(scan)
            held += len(scan.content or b"")
            if held >= MEMBER_BYTES_AT_ONCE or len(window) >= SAVE_EVERY_PHOTOS:
                yield window
                window, held = [], 0
    except InputError:
        yield window
        raise
    yield window


def _scan(item: tuple[MediaFile, FileState | None]) -> ScanResult:
    return scan_file(*item)
