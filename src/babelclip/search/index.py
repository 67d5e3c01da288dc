"""Index: a photo collection that is filled from folders, and searched by texts and images."""

from collections.abc import Callable, Iterable, Sequence
from pathlib import Path
from types import TracebackType

from babelclip.catalog.catalog import Catalog
from babelclip.catalog.records import Photo
from babelclip.errors import InputError
from babelclip.indexing.photo_index import PhotoIndex
from babelclip.indexing.report import IndexProgress, IndexReport
from babelclip.models.model import Model
from babelclip.search.hits import Hit
from babelclip.search.options import SearchOptions
from babelclip.search.searcher import Query, Searcher
from babelclip.stores import ModelIdentity, Store, StoreProgress, open_store
from babelclip.stores.sqlite import SqliteStore
from babelclip.vectors import FloatArray


class Index:
    """An open index. Use it from one thread at a time; several processes may share the file.

    ``searcher`` answers queries; ``photos`` fills an index file and lists what is in it.
    """

    def __init__(self, store: Store, model: Model) -> None:
        """Join a store and its model; use ``Index.open``."""
        self._store = store
        self._model = model
        self.searcher = Searcher(store, model)

    @property
    def model(self) -> Model:
        """The model of its vectors."""
        return self._model

    @property
    def photos(self) -> PhotoIndex:
        """The photos of an index file; a Milvus collection can only be searched, and raises InputError."""
        if not isinstance(self._store, SqliteStore):
            raise InputError(
                "a collection of Milvus is for searches; babelclip scale load fills it, the rest needs an index file"
            )
        return PhotoIndex(self._store.catalog, self._model)

    @classmethod
    def open(cls, path: str | Path, model: Model, *, create: bool = True) -> "Index":
        """Open an index file or a Milvus collection, or create one.

        :param path: the file; or milvus://HOST:PORT/COLLECTION, or milvus:///PATH/FILE.db for Milvus Lite
        :param model: the model of its vectors
        :param create: create it if it is not there; else that is an error
        :return: the index
        :raises InputError: if it is not there and is not to be created
        :raises CatalogError: if the file cannot be used
        :raises ModelMismatchError: if it was made by another model
        """
        return cls(open_store(path, ModelIdentity.of(model), create=create), model)

    @classmethod
    def of(cls, catalog: Catalog, model: Model) -> "Index":
        """Wrap an open catalog.

        :param catalog: the catalog
        :param model: the model of its vectors
        :return: the index
        """
        return cls(SqliteStore(catalog, model.dimension), model)

    def __enter__(self) -> "Index":
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def __len__(self) -> int:
        return len(self._store)

    def close(self) -> None:
        """Close the file."""
        self._store.close()

    def add_folder(self, root: str | Path, *, progress: Callable[[IndexProgress], None] | None = None) -> IndexReport:
        """Update the index to a folder: add new and changed photos, remove deleted ones.

        What is done is kept even if the call is interrupted at any moment; the next call continues from there.

        :param root: a folder, or one photo
        :param progress: gets the state of the run
        :return: what was done
        :raises InputError: if there is nothing at that path
        :raises CatalogError: if the index cannot be written
        """
        return self.photos.add_folder(root, progress=progress)

    def failures(self) -> list[tuple[str, str]]:
        """List the files that could not be read.

        :return: (path, reason), in the order of paths
        """
        return self._store.failures()

    def pictures(self) -> tuple[list[Photo], FloatArray]:
        """List the files that are one image each, so without videos.

        :return: files in the order of paths, and float32 (n, d) vectors, unit rows
        """
        return self.photos.pictures()

    def captures(self) -> dict[bytes, tuple[str | None, str | None]]:
        """Look up when photos were taken and with which camera.

        :return: by sha256, the time (ISO 8601, the camera's clock) and the camera; None for what is not known
        """
        return self.photos.captures()

    def contents_of(self, paths: Iterable[str]) -> dict[str, bytes]:
        """Look up the contents of files, which do not change when these are moved, renamed or copied.

        :param paths: absolute paths; those that are not in the index are left out
        :return: sha256 by path
        """
        return self.photos.contents_of(paths)

    def files_of(self, content: bytes) -> list[str]:
        """List the files of a content.

        :param content: its sha256
        :return: their paths, sorted; empty where it is not in the index
        """
        return self.photos.files_of(content)

    def prepare(self, *, languages: Iterable[str] = (), progress: StoreProgress | None = None) -> None:
        """Prepare for searches: build or grow the graph that a large collection needs, and read what is new.

        A search builds nothing: it compares exactly what the graph does not contain.

        :param languages: codes, or ``confidence.ANY``, of expected queries, whose background vocabularies are embedded
            (once for a model) and measured
        :param progress: gets the number of vectors in the new graph, and of all
        """
        self.maintain(progress)
        self.searcher.measure_backgrounds(languages)

    def maintain(self, progress: StoreProgress | None = None) -> bool:
        """Build, grow or tune the graph, if it is due. A million vectors take minutes.

        :param progress: gets the number of vectors in the new graph, and of all; what it raises cancels the work
        :return: whether anything was done
        :raises CatalogError: if it cannot be written
        """
        return self.searcher.maintain(progress)

    def search(
        self,
        query: Query,
        k: int = 10,
        *,
        where: str | None = None,
        page: int = 1,
        grouped: bool = False,
        diversity: float = 0.0,
        language: str | None = None,
        queries_like: Sequence[str] = (),
    ) -> list[Hit]:
        """Find the photos that match best; ``searcher.search`` takes the same as ``SearchOptions``.

        :param query: a text in any of the model's languages, an image (a Path, bytes, a PIL image or an array), or
            terms with weights (``expressions.read_expression`` parses them from text)
        :param k: number of hits, at least 1
        :param where: a filter, such as ``folder:holiday AND NOT date<2020`` (``filters.read_filter``)
        :param page: 2 returns the k hits after the first k, and so on; pages of one query never share a photo
        :param grouped: show near-duplicates as one hit
        :param diversity: 0..1, how much each next hit must differ from those before it (MMR)
        :param language: code of the text's language, for the confidence; None identifies it
        :param queries_like: the query bank: other queries of the same kind; photos that match many of them count less
        :return: the best first; fewer where there are no more
        :raises InputError: if a text is blank, k, page, diversity or language is out of range, the filter cannot be
            read, or an image cannot be used
        """
        options = SearchOptions(
            k=k,
            where=where,
            page=page,
            grouped=grouped,
            diversity=diversity,
            language=language,
            queries_like=tuple(queries_like),
        )
        return self.searcher.search(query, options)

    def similar(self, image: str | Path, k: int = 10, *, where: str | None = None) -> list[Hit]:
        """Find the photos most similar to one, without the photo itself.

        :param image: its path
        :param k: number of hits, at least 1
        :param where: a filter (``filters.read_filter``)
        :return: the most similar first
        :raises InputError: if k is below 1, the filter cannot be read, or the image cannot be used
        """
        return self.searcher.similar(image, SearchOptions(k=k, where=where))

    def nearest(self, vector: FloatArray, k: int = 10, *, where: str | None = None) -> list[Hit]:
        """Find the photos whose vectors are nearest to one; ``searcher.nearest`` takes more options.

        :param vector: float32 (d,), of any length but zero
        :param k: number of hits, at least 1
        :param where: a filter (``filters.read_filter``)
        :return: the nearest first
        :raises InputError: if k is below 1, or the filter cannot be read
        """
        return self.searcher.nearest(vector, SearchOptions(k=k, where=where))
