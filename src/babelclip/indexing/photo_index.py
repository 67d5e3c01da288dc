"""The photos of an index file: what is in it, and bringing it up to date with folders."""

from collections.abc import Callable, Iterable
from pathlib import Path

from babelclip.catalog.catalog import Catalog
from babelclip.catalog.records import Photo
from babelclip.indexing.indexer import bring_up_to_date
from babelclip.indexing.report import IndexProgress, IndexReport
from babelclip.models.model import Model
from babelclip.vectors import FloatArray, unit_rows


class PhotoIndex:
    """The photos of an open catalog."""

    def __init__(self, catalog: Catalog, model: Model) -> None:
        """Take a catalog and the model of its vectors.

        :param catalog: the catalog
        :param model: the model
        """
        self._catalog = catalog
        self._model = model

    def add_folder(self, root: str | Path, *, progress: Callable[[IndexProgress], None] | None = None) -> IndexReport:
        """Update the index to a folder: add new and changed photos, remove deleted ones.

        What is done is kept even if the call is interrupted at any moment; the next call continues from there.

        :param root: a folder, or one photo
        :param progress: gets the state of the run
        :return: what was done
        :raises InputError: if there is nothing at that path
        :raises CatalogError: if the index cannot be written
        """
        return bring_up_to_date(self._catalog, self._model, Path(root), progress=progress)

    def pictures(self) -> tuple[list[Photo], FloatArray]:
        """List the files that are one image each, so without videos.

        :return: files in the order of paths, and float32 (n, d) vectors, unit rows
        """
        photos, vectors = self._catalog.vectors.pictures()
        return photos, unit_rows(vectors)

    def captures(self) -> dict[bytes, tuple[str | None, str | None]]:
        """Look up when photos were taken and with which camera.

        :return: by sha256, the time (ISO 8601, the camera's clock) and the camera; None for what is not known
        """
        return self._catalog.photos.captures()

    def contents_of(self, paths: Iterable[str]) -> dict[str, bytes]:
        """Look up the contents of files, which do not change when these are moved, renamed or copied.

        :param paths: absolute paths; those that are not in the index are left out
        :return: sha256 by path
        """
        return self._catalog.photos.hashes_of(paths)

    def files_of(self, content: bytes) -> list[str]:
        """List the files of a content.

        :param content: its sha256
        :return: their paths, sorted; empty where it is not in the index
        """
        return self._catalog.photos.files_of(content)
