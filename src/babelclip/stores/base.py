"""What a store is, and how one is opened by name."""

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Protocol

from babelclip.media.metadata import NOTHING_SAID, Facts
from babelclip.vectors import FloatArray

if TYPE_CHECKING:
    from babelclip.models.model import Model

MILVUS = "milvus://"
DEEPEST = 10_000
"""Hits that paging goes down to, and candidates that are looked at where hits are chosen among them."""

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
    """The model that a store's vectors are of; a store answers to no other."""

    name: str
    fingerprint: str
    dimension: int

    @classmethod
    def of(cls, model: "Model") -> "ModelIdentity":
        """Those of a loaded model.

        :param model: the model
        :return: its facts
        """
        return cls(model.name, model.fingerprint, model.dimension)


@dataclass(frozen=True, slots=True)
class StoreRecord:
    """A picture to hold: its path, sha256, float32 (d,) unit vector, bytes, time of change in ns, and facts."""

    path: str
    hash: bytes
    vector: FloatArray
    size: int
    mtime_ns: int = 0
    facts: Facts = NOTHING_SAID


@dataclass(frozen=True, slots=True)
class Match:
    """A picture that was found: its vector's id in the store, its path, the cosine, and the time in a video."""

    vector: int
    path: str
    score: float
    at_ms: int | None = None


class Store(Protocol):
    """Holds vectors and finds the nearest. One thread uses it at a time."""

    def __len__(self) -> int:
        """How many pictures can be found."""
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
        """The pictures whose vectors are nearest to one: each once, of a video its best frame.

        :param vector: float32 (d,), a unit vector
        :param count: how many, at least 1; a store may give fewer where it is over its limit
        :param where: a filter as filters.py reads it
        :return: the nearest first; at equal scores by path
        :raises InputError: if the filter cannot be read
        """
        ...

    def nearest(self, vectors: FloatArray, count: int) -> tuple[FloatArray, FloatArray]:
        """The nearest vectors of many.

        :param vectors: float32 (m, d), unit rows
        :param count: how many of each
        :return: float32 (m, count) cosines, the best first, and float32 (m, count, d) the vectors that have them; zeros
            where there are no more
        """
        ...

    def vectors_of(self, ids: Sequence[int]) -> FloatArray:
        """The vectors of what was found.

        :param ids: ``Match.vector`` of each
        :return: float32 (n, d), unit rows; zeros for one that is gone
        """
        ...

    def sample(self, size: int) -> FloatArray:
        """Vectors drawn from all: a background to judge scores by.

        :param size: how many; fewer come where there are fewer
        :return: float32 (n, d), unit rows
        """
        ...

    def failures(self) -> list[tuple[str, str]]:
        """The files that could not be read, as far as the store knows them.

        :return: (path, reason), in the order of paths
        """
        ...

    def add(self, entries: Sequence[StoreRecord]) -> None:
        """Take pictures in; what is there under the same path is replaced.

        :param entries: some thousands at most
        :raises CatalogError: if they cannot be written; then none or some of them are
        """
        ...

    def delete(self, paths: Iterable[str]) -> None:
        """Take pictures out; paths that are not there are passed over.

        :param paths: their paths
        """
        ...

    def close(self) -> None:
        """Let go of the file or server."""
        ...
