"""Writer of an indexing run: collects results, saves them every few seconds, and keeps the report."""

import time
from collections.abc import Callable, Iterable

from babelclip.catalog.catalog import Catalog
from babelclip.catalog.records import ContentRecord, Photo
from babelclip.indexing.report import IndexProgress, IndexReport
from babelclip.indexing.scan import is_utf8
from babelclip.media.metadata import Metadata

SAVE_EVERY_SECONDS = 2.0
SAVE_EVERY_PHOTOS = 256


class IndexWriter:
    """Collects results and saves them to a catalog in transactions; what is saved survives an interrupted run."""

    def __init__(self, catalog: Catalog, report: IndexReport, progress: Callable[[IndexProgress], None] | None) -> None:
        """Take an open catalog.

        :param catalog: the catalog to save to
        :param report: the report to add outcomes to
        :param progress: called after every file
        """
        self.total = 0
        self._catalog = catalog
        self._report = report
        self._progress = progress
        self._done = 0
        self._photos: list[Photo] = []
        self._contents: dict[bytes, ContentRecord] = {}
        self._metadata: list[tuple[Photo, Metadata]] = []
        self._saved_at = time.monotonic()

    def unchanged(self, files: int = 1) -> None:
        """Report files that are unchanged.

        :param files: their number
        """
        self._report.unchanged += files
        self._step(files)

    def new_metadata(self, photo: Photo, metadata: Metadata) -> None:
        """Save new metadata of a photo whose content is unchanged.

        :param photo: the photo
        :param metadata: its metadata
        """
        self._metadata.append((photo, metadata))
        self.unchanged()

    def known_content(self, photo: Photo, metadata: Metadata) -> None:
        """Save a photo whose content is in the catalog, or about to be saved.

        :param photo: the photo, with its hash
        :param metadata: its metadata
        """
        digest = photo.hash or b""
        pending = self._contents.get(digest)
        error = self._catalog.photos.error_of(digest) if pending is None else pending.error
        if error is None:
            self._report.known_content += 1
        else:
            self._report.failed.append((photo.path, error))
        self._photos.append(photo)
        self._metadata.append((photo, metadata))
        self._step(1)

    def unreadable(self, photo: Photo) -> None:
        """Save a file that cannot be read, and report it.

        :param photo: the file, with its error
        """
        if is_utf8(photo.path):
            self._photos.append(photo)
        self.skip([photo], photo.error or "")

    def skip(self, photos: Iterable[Photo], reason: str) -> None:
        """Report files as failed without saving them, so that the next run tries them again.

        :param photos: the files
        :param reason: why they failed
        """
        for photo in photos:
            self._report.failed.append((photo.path, reason))
            self._step(1)

    def content(self, record: ContentRecord, photos: list[Photo]) -> None:
        """Save the result for a content.

        :param record: the result
        :param photos: the photos that have the content
        """
        self._contents[record.hash] = record
        self._photos.extend(photos)
        if record.error is None:
            self._report.added += len(photos)
        else:
            self._report.failed.extend((photo.path, record.error) for photo in photos)
        self._step(len(photos))

    def has_content(self, digest: bytes) -> bool:
        """Check whether a content is in the catalog or waits to be saved.

        :param digest: its sha256
        :return: whether it need not be encoded
        """
        return digest in self._contents or self._catalog.photos.has_content(digest)

    def _step(self, files: int) -> None:
        self._done += files
        self.total = max(self.total, self._done)
        if self._progress is not None:
            self._progress(IndexProgress(self._done, self.total))
        due = time.monotonic() - self._saved_at > SAVE_EVERY_SECONDS
        if due or len(self._photos) + len(self._metadata) >= SAVE_EVERY_PHOTOS:
            self.flush()

    def flush(self) -> None:
        """Save everything that was collected.

        :raises CatalogError: if the catalog cannot be written
        """
        if self._photos or self._metadata:
            self._catalog.save(self._photos, self._contents.values(), self._metadata)
        self._photos, self._contents, self._metadata = [], {}, []
        self._saved_at = time.monotonic()
