"""The vectors of a catalog that can be found: what is new and gone among them, and the files that they are of."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from babelclip.catalog.connection import CatalogFile
from babelclip.errors import CatalogError
from babelclip.vectors import FloatArray, from_bytes, stored_bytes

BLOCK_ROWS = 16384
FINDABLE = "vectors JOIN contents ON contents.id = vectors.content JOIN photos ON photos.content = contents.id"
"""Every vector with its content and each of its files; filters are over these columns."""


@dataclass(frozen=True, slots=True)
class Mark:
    """How far a reader of vectors has come: the last vector's id, and the last removal's number."""

    vector: int = 0
    removal: int = 0


@dataclass(frozen=True, slots=True)
class Place:
    """Where a vector is found: its id, a file that has it, and the time in a video (None for pictures)."""

    vector: int
    path: str
    at_ms: int | None


class CatalogVectors(CatalogFile):
    """Reads the vectors of a catalog; ``catalog.Catalog`` writes them."""

    def count(self) -> int:
        """How many files can be found.

        :return: rows of photos with a vector
        """
        query = "SELECT count(*) FROM photos WHERE content IN (SELECT content FROM vectors)"
        return int(self.rows(query)[0][0])

    def mark(self) -> Mark:
        """How far a reader has come that has read everything.

        :return: the newest vector and removal that ever were
        """
        query = "SELECT name, seq FROM sqlite_sequence WHERE name IN ('vectors', 'removals')"
        newest = dict(self.rows(query))
        return Mark(newest.get("vectors", 0), newest.get("removals", 0))

    def vectors_since(
        self, vector: int = 0, *, block: int = BLOCK_ROWS
    ) -> Iterator[tuple[NDArray[np.int64], FloatArray]]:
        """The vectors that can be found and are newer than one, in blocks, so that any number fits into memory.

        Writing may go on meanwhile. A reader that keeps vectors reads these first and ``removed_since`` after.

        :param vector: the id of the last one that the reader has; 0 for all
        :param block: vectors a block
        :yield: int64 (n,) ids, growing, and float32 (n, d) vectors, unit rows within the rounding of the stored form
        :raises CatalogError: if a vector is damaged
        """
        query = "SELECT id, vector FROM vectors WHERE id > ? ORDER BY id LIMIT ?"
        while rows := self.rows(query, (vector, block)):
            yield np.fromiter((row[0] for row in rows), np.int64, len(rows)), self._floats([row[1] for row in rows])
            vector = rows[-1][0]

    def _floats(self, stored: list[bytes]) -> FloatArray:
        """Stored vectors as float32 (n, d)."""
        expected = stored_bytes(self._dimension, self._form)
        if any(len(one) != expected for one in stored):
            raise CatalogError(f"index {self.path} is damaged: a vector does not have {self._dimension} numbers")
        return from_bytes(b"".join(stored), self._dimension, self._form)

    def removed_since(self, removal: int = 0) -> tuple[NDArray[np.int64], int]:
        """The vectors that went after a removal.

        :param removal: ``Mark.removal`` of the reader
        :return: int64 (n,) ids, of which the reader may never have seen some; and the number of the last removal
        """
        rows = self.rows("SELECT id, vector FROM removals WHERE id > ? ORDER BY id", (removal,))
        return np.array([row[1] for row in rows], dtype=np.int64), rows[-1][0] if rows else removal

    def places(
        self, vectors: Sequence[int], condition: str = "1", parameters: Sequence[Any] = ()
    ) -> dict[int, list[Place]]:
        """Where vectors are found; every copy of a photo is a place.

        :param vectors: ids, at most 30,000
        :param condition: SQL over FINDABLE, as a filter gives it
        :param parameters: what its placeholders stand for
        :return: by id, in the order of paths; ids that are gone are left out
        """
        marks = ",".join("?" * len(vectors))
        found: dict[int, list[Place]] = {}
        for vector, path, at_ms in self.rows(
            f"SELECT vectors.id, path, at_ms FROM {FINDABLE} "
            f"WHERE vectors.id IN ({marks}) AND {condition} ORDER BY path",
            (*map(int, vectors), *parameters),
        ):
            found.setdefault(vector, []).append(Place(vector, path, at_ms))
        return found

    def vectors(self) -> tuple[list[str], FloatArray]:
        """Everything that can be found, at once; ``vectors_since`` gives it in blocks.

        :return: absolute paths in order, and float32 (n, d) vectors, unit rows within the rounding of the stored form
        """
        rows = self.rows("SELECT path, vector FROM photos JOIN vectors USING (content) ORDER BY path, at_ms")
        if not rows:
            return [], np.empty((0, self._dimension), dtype=np.float32)
        return [path for path, _ in rows], self._floats([stored for _, stored in rows])
