"""Reader of the vectors of a catalog: new and removed vectors since a cursor, and the photos they belong to."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from babelclip.catalog.connection import Connection
from babelclip.catalog.records import Photo
from babelclip.catalog.vector_format import from_bytes, stored_bytes
from babelclip.errors import CatalogError
from babelclip.vectors import FloatArray

BLOCK_ROWS = 16384
FINDABLE = "vectors JOIN contents ON contents.id = vectors.content JOIN photos ON photos.content = contents.id"
"""Every vector with its content and each photo of that content; filters are conditions on these columns."""


@dataclass(frozen=True, slots=True)
class Cursor:
    """Position of a reader of vectors: id of the last vector and number of the last removal that it has processed."""

    vector: int = 0
    removal: int = 0


@dataclass(frozen=True, slots=True)
class VectorLocation:
    """Location of a vector: its id, the path of a photo it belongs to, and the time in a video (None for pictures)."""

    vector: int
    path: str
    at_ms: int | None


class VectorReader:
    """Reads the vectors of an open catalog; ``catalog.Catalog`` writes them."""

    def __init__(self, connection: Connection) -> None:
        """Take an open connection.

        :param connection: the connection; its owner closes it
        """
        self._connection = connection

    @property
    def path(self) -> Path:
        """Path of the SQLite file."""
        return self._connection.path

    @property
    def identity(self) -> str:
        """Random id of the catalog, 32 hexadecimal digits."""
        return self._connection.identity

    def rows(self, query: str, parameters: Sequence[Any] | dict[str, Any] = ()) -> list[tuple[Any, ...]]:
        """Read all rows of a query.

        :param query: a SELECT
        :param parameters: values of its placeholders
        :return: the rows
        :raises CatalogError: if the file cannot be read
        """
        return self._connection.rows(query, parameters)

    def count(self) -> int:
        """Count the photos that can be found.

        :return: number of photos with a vector
        """
        query = "SELECT count(*) FROM photos WHERE content IN (SELECT content FROM vectors)"
        return int(self.rows(query)[0][0])

    def cursor(self) -> Cursor:
        """Cursor of a reader that has processed everything.

        :return: the highest vector id and removal number that were ever given
        """
        query = "SELECT name, seq FROM sqlite_sequence WHERE name IN ('vectors', 'removals')"
        newest = dict(self.rows(query))
        return Cursor(newest.get("vectors", 0), newest.get("removals", 0))

    def vectors_since(
        self, vector: int = 0, *, block: int = BLOCK_ROWS
    ) -> Iterator[tuple[NDArray[np.int64], FloatArray]]:
        """Read the vectors that are newer than an id, in blocks, so that memory stays bounded.

        Others may write meanwhile. A reader that keeps vectors reads these first and ``removed_since`` after.

        :param vector: id of the last vector that the reader has; 0 for all
        :param block: maximum number of vectors of a block
        :yield: int64 (n,) ids, ascending, and float32 (n, d) vectors, unit rows within the rounding of the stored form
        :raises CatalogError: if a vector is damaged
        """
        query = "SELECT id, vector FROM vectors WHERE id > ? ORDER BY id LIMIT ?"
        while rows := self.rows(query, (vector, block)):
            yield np.fromiter((row[0] for row in rows), np.int64, len(rows)), self.decode([row[1] for row in rows])
            vector = rows[-1][0]

    def decode(self, stored: Sequence[bytes]) -> FloatArray:
        """Decode stored vectors.

        :param stored: n vectors as the file holds them
        :return: float32 (n, d), unit rows within the rounding of the stored form
        :raises CatalogError: if a vector does not have the model's dimension
        """
        dimension, form = self._connection.dimension, self._connection.stored_form
        expected = stored_bytes(dimension, form)
        if any(len(vector) != expected for vector in stored):
            raise CatalogError(f"index {self.path} is damaged: a vector does not have {dimension} numbers")
        return from_bytes(b"".join(stored), dimension, form)

    def removed_since(self, removal: int = 0) -> tuple[NDArray[np.int64], int]:
        """Read the ids of the vectors that were removed after a removal.

        :param removal: ``Cursor.removal`` of the reader
        :return: int64 (n,) ids, some of which the reader may never have seen; and the number of the last removal
        """
        rows = self.rows("SELECT id, vector FROM removals WHERE id > ? ORDER BY id", (removal,))
        return np.array([row[1] for row in rows], dtype=np.int64), rows[-1][0] if rows else removal

    def locations(
        self, vectors: Sequence[int], condition: str = "1", parameters: Sequence[Any] = ()
    ) -> dict[int, list[VectorLocation]]:
        """Look up the locations of vectors; each copy of a photo is a location.

        :param vectors: ids, at most 30,000
        :param condition: SQL on FINDABLE, as a filter gives it
        :param parameters: values of its placeholders
        :return: locations by id, in the order of paths; removed ids are left out
        """
        placeholders = ",".join("?" * len(vectors))
        locations: dict[int, list[VectorLocation]] = {}
        for vector, path, at_ms in self.rows(
            f"SELECT vectors.id, path, at_ms FROM {FINDABLE} "
            f"WHERE vectors.id IN ({placeholders}) AND {condition} ORDER BY path",
            (*map(int, vectors), *parameters),
        ):
            locations.setdefault(vector, []).append(VectorLocation(vector, path, at_ms))
        return locations

    def all(self) -> tuple[list[str], FloatArray]:
        """Read all vectors at once; ``vectors_since`` reads them in blocks.

        :return: absolute paths in order, and float32 (n, d) vectors, unit rows within the rounding of the stored form
        """
        rows = self.rows("SELECT path, vector FROM photos JOIN vectors USING (content) ORDER BY path, at_ms")
        if not rows:
            return [], np.empty((0, self._connection.dimension), dtype=np.float32)
        return [path for path, _ in rows], self.decode([stored for _, stored in rows])

    def pictures(self) -> tuple[list[Photo], FloatArray]:
        """Read all photos that are pictures, without videos, and their vectors.

        :return: photos in the order of paths, and float32 (n, d) vectors, unit rows within the rounding of the stored
            form
        """
        query = (
            "SELECT path, size, mtime_ns, hash, sidecar_ns, vector FROM photos JOIN vectors USING (content) "
            "JOIN contents ON contents.id = content WHERE at_ms IS NULL ORDER BY path"
        )
        photos: list[Photo] = []
        blocks = [np.empty((0, self._connection.dimension), dtype=np.float32)]
        for rows in self._connection.row_blocks(query, BLOCK_ROWS):
            photos += [Photo(path, size, mtime, digest, None, xmp) for path, size, mtime, digest, xmp, _ in rows]
            blocks.append(self.decode([row[-1] for row in rows]))
        return photos, np.concatenate(blocks)
