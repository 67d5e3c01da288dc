"""The store protocol, and the records that go in and come out."""

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Protocol

from babelclip.media.metadata import NO_METADATA, Metadata
from babelclip.vectors import FloatArray

if TYPE_CHECKING:
    from babelclip.models.model import Model

MILVUS = "milvus://"
DEEPEST = 10_000
"""Hits of all pages together, and candidates of a search whose hits are reranked."""

StoreProgress = Callable[[int, int], None]
QuerySource = Callable[[], Sequence[FloatArray]]
"""Gives tuning queries: float32 (m, d) unit rows of each kind of text; encoding them takes a second."""


def no_queries() -> Sequence[FloatArray]:
    """Give no tuning queries: a graph is then tuned with images alone, until it is maintained with some.

    :return: nothing
    """
    return ()


@dataclass(frozen=True, slots=True)
class ModelIdentity:
    """The model of a store's vectors; a store refuses every other."""

    name: str
    fingerprint: str
    dimension: int

    @classmethod
    def of(cls, model: "Model") -> "ModelIdentity":
        """Identify a loaded model.

        :param model: the model
        :return: its name, fingerprint and dimension
        """
        return cls(model.name, model.fingerprint, model.dimension)


@dataclass(frozen=True, slots=True)
class StoreRecord:
    """A photo to store: its path, sha256, float32 (d,) unit vector, size in bytes, time of change in ns, metadata."""

    path: str
    hash: bytes
    vector: FloatArray
    size: int
    mtime_ns: int = 0
    facts: Metadata = NO_METADATA


@dataclass(frozen=True, slots=True)
class Match:
    """A result of a store: the vector's id, the photo's path, the cosine, and the time in a video."""

    vector: int
    path: str
    score: float
    at_ms: int | None = None


class Store(Protocol):
    """Holds vectors and finds the nearest. One thread uses it at a time."""

    def __len__(self) -> int:
        """Count the photos that can be found."""
        ...

    def refresh(self) -> object:
        """Read what was written since, by any process, and adopt a newer snapshot; never build one.

        Every search is as of the last call.

        :return: a value that is equal as long as nothing changes
        """
        ...

    def maintain(self, queries: QuerySource = no_queries, progress: StoreProgress | None = None) -> bool:
        """Build, grow or tune what makes searches fast, if it is due; ``refresh`` adopts it.

        A million vectors take minutes.

        :param queries: gives the tuning queries; called only if they are needed
        :param progress: gets the number of vectors that are done, and of all; what it raises cancels the work
        :return: whether anything was done
        :raises CatalogError: if it cannot be written
        """
        ...

    def find(self, vector: FloatArray, count: int, *, where: str | None = None) -> list[Match]:
        """Find the photos whose vectors are nearest to one: each once, a video by its best frame.

        :param vector: float32 (d,), a unit vector
        :param count: how many, at least 1; a store may return fewer where that is beyond its limit
        :param where: a filter (``filters.read_filter``)
        :return: the nearest first; at equal scores by path
        :raises InputError: if the filter cannot be read
        """
        ...

    def nearest(self, vectors: FloatArray, count: int) -> tuple[FloatArray, FloatArray]:
        """Find the vectors nearest to many.

        :param vectors: float32 (m, d), unit rows
        :param count: how many for each
        :return: float32 (m, count) cosines, the best first, and float32 (m, count, d) their vectors; zeros where there
            are no more
        """
        ...

    def vectors_of(self, ids: Sequence[int]) -> FloatArray:
        """Look up the vectors of matches.

        :param ids: ``Match.vector`` of each
        :return: float32 (n, d), unit rows; zeros for one that was removed
        """
        ...

    def sample(self, size: int) -> FloatArray:
        """Draw vectors of the collection, with which the spread of scores is measured.

        :param size: how many; fewer are returned where there are fewer
        :return: float32 (n, d), unit rows
        """
        ...

    def failures(self) -> list[tuple[str, str]]:
        """List the files that could not be read, if the store knows them.

        :return: (path, reason), in the order of paths
        """
        ...

    def add(self, records: Sequence[StoreRecord]) -> None:
        """Add photos; a photo of the same path is replaced.

        :param records: a few thousand at most
        :raises CatalogError: if they cannot be written; then none or some of them are
        """
        ...

    def delete(self, paths: Iterable[str]) -> None:
        """Delete photos; paths that are not there are ignored.

        :param paths: their paths
        """
        ...

    def close(self) -> None:
        """Close the file or the connection."""
        ...
