"""Index: a photo collection that answers queries in words and pictures."""

from collections.abc import Callable, Iterable
from dataclasses import dataclass
from pathlib import Path
from types import TracebackType

from babelclip.catalog import Catalog, Photo
from babelclip.errors import InputError
from babelclip.indexing import IndexProgress, IndexReport, bring_up_to_date
from babelclip.model import Model
from babelclip.neighbours import ExactNeighbours
from babelclip.pixels import ImageSource
from babelclip.vectors import FloatArray, unit_rows


@dataclass(frozen=True, slots=True)
class Hit:
    """A photo that answers a query: its rank from 1, its absolute path, and the cosine with the query in -1..1."""

    rank: int
    path: str
    score: float


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

    def pictures(self) -> tuple[list[Photo], FloatArray]:
        """The files that are one picture each, so without videos.

        :return: files in the order of paths, and float32 (n, d) vectors, unit rows
        """
        photos, vectors = self._catalog.pictures()
        return photos, unit_rows(vectors)

    def contents_of(self, paths: Iterable[str]) -> dict[str, bytes]:
        """What files hold: a name that stays when they are moved, renamed or copied.

        :param paths: absolute paths; what is not in the index is left out
        :return: sha256 by path
        """
        return self._catalog.hashes_of(paths)

    def files_of(self, content: bytes) -> list[str]:
        """The files that hold a content.

        :param content: its sha256
        :return: their paths, in order; none where it is not in the index
        """
        return self._catalog.files_of(content)

    def add_folder(self, root: str | Path, *, progress: Callable[[IndexProgress], None] | None = None) -> IndexReport:
        """Bring the index up to date with a folder: new and changed photos in, deleted ones out.

        What is done is kept even if the call is ended at any moment; the next call goes on from there.

        :param root: a folder, or one photo
        :param progress: is told how far it is
        :return: what was done
        :raises InputError: if there is nothing at that path
        :raises CatalogError: if the index cannot be written
        """
        try:
            return bring_up_to_date(self._catalog, self._model, Path(root), progress=progress)
        finally:
            self._neighbours = None

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
