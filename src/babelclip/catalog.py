"""The catalog: one SQLite file that is the truth about a photo collection. Everything else is derived from it.

Stored form, version 1 (``PRAGMA user_version``; ``PRAGMA application_id`` is "bclp"):
  meta      key, value      model name, model fingerprint, dimension
  contents  hash, ...       one row for each different file content, by sha256: its vector as little-endian float16
                            numbers (vectors.to_bytes), or the reason why it has none
  photos    path, ...       one row for each file: absolute path, size, mtime in ns, the content's hash, or the reason
                            why the file could not be read

Vectors belong to contents, so a renamed, moved or copied photo keeps its vector. Writes happen in transactions over a
write-ahead log: after a kill at any moment the last whole transaction stands, and other processes may read meanwhile.
"""

import os
import sqlite3
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from babelclip.errors import CatalogError, ModelMismatchError
from babelclip.vectors import FloatArray, from_bytes, to_bytes

APPLICATION_ID = int.from_bytes(b"bclp", "big")
BUSY_TIMEOUT_SECONDS = 30.0

_MIGRATIONS = (
    """
    CREATE TABLE meta (key TEXT PRIMARY KEY, value TEXT NOT NULL) WITHOUT ROWID;
    CREATE TABLE contents (
        hash BLOB PRIMARY KEY CHECK (length(hash) = 32),
        vector BLOB,
        error TEXT,
        CHECK ((vector IS NULL) <> (error IS NULL))
    );
    CREATE TABLE photos (
        path TEXT PRIMARY KEY,
        size INTEGER NOT NULL,
        mtime_ns INTEGER NOT NULL,
        hash BLOB,
        error TEXT,
        CHECK ((hash IS NULL) <> (error IS NULL))
    );
    CREATE INDEX photos_by_hash ON photos (hash);
    """,
)
"""Migration i takes a file from version i to i + 1; a landed one never changes."""


@dataclass(frozen=True, slots=True)
class Photo:
    """A file as it was found: absolute path, size in bytes, time of change in nanoseconds, sha256 of its content.

    ``hash`` is None where the file could not be read, and ``error`` says why.
    """

    path: str
    size: int
    mtime_ns: int
    hash: bytes | None
    error: str | None = None


@dataclass(frozen=True, slots=True)
class Content:
    """What a file content became: a float32 (d,) unit vector, or the reason why there is none."""

    hash: bytes
    vector: FloatArray | None
    error: str | None = None


class Catalog:
    """An open catalog file. One thread uses it at a time; several processes may share the file."""

    def __init__(self, path: Path, *, model_name: str, fingerprint: str, dimension: int) -> None:
        """Open a catalog, or make one.

        :param path: the file; its folder is made if need be
        :param model_name: the model's name, for messages
        :param fingerprint: what tells the model's vectors from another's
        :param dimension: the length of a vector
        :raises CatalogError: if the file is not a catalog, is damaged, locked or newer than this version
        :raises ModelMismatchError: if it was made by another model
        """
        self.path = path
        self._dimension = dimension
        with self._guard():
            path.parent.mkdir(parents=True, exist_ok=True)
            self._db = sqlite3.connect(path, timeout=BUSY_TIMEOUT_SECONDS, isolation_level=None)
        try:
            with self._guard():
                self._migrate()
                self._check_model(model_name, fingerprint)
        except BaseException:
            self._db.close()
            raise

    @contextmanager
    def _guard(self) -> Iterator[None]:
        """Turn what SQLite and the file system raise into a CatalogError that names the file."""
        try:
            yield
        except sqlite3.OperationalError as error:
            hint = " Another program is writing to it; try again." if "locked" in str(error) else ""
            raise CatalogError(f"index {self.path}: {error}.{hint}") from None
        except (sqlite3.DatabaseError, OSError) as error:
            raise CatalogError(f"index {self.path} cannot be used: {error}") from None

    @contextmanager
    def _transaction(self) -> Iterator[None]:
        """All of the block's writes, or none."""
        with self._guard():
            self._db.execute("BEGIN IMMEDIATE")
            try:
                yield
            except BaseException:
                self._db.execute("ROLLBACK")
                raise
            self._db.execute("COMMIT")

    def _version(self) -> int:
        return int(self._db.execute("PRAGMA user_version").fetchone()[0])

    def _migrate(self) -> None:
        """Bring the file to this version, one step at a time."""
        application = int(self._db.execute("PRAGMA application_id").fetchone()[0])
        tables = self._db.execute("SELECT count(*) FROM sqlite_schema").fetchone()[0]
        if tables and application != APPLICATION_ID:
            raise CatalogError(f"{self.path} is an SQLite file, but not an index of babelclip")
        if self._version() > len(_MIGRATIONS):
            raise CatalogError(f"index {self.path} was made by a newer babelclip; update to read it")
        self._db.execute("PRAGMA journal_mode = WAL")
        self._db.execute("PRAGMA synchronous = NORMAL")
        if self._version() == len(_MIGRATIONS):
            return
        with self._transaction():
            # Looked up again inside: another process may have done it meanwhile.
            for step in range(self._version(), len(_MIGRATIONS)):
                for statement in _MIGRATIONS[step].split(";\n"):
                    self._db.execute(statement)
            self._db.execute(f"PRAGMA application_id = {APPLICATION_ID}")
            self._db.execute(f"PRAGMA user_version = {len(_MIGRATIONS)}")

    def _check_model(self, name: str, fingerprint: str) -> None:
        """Note the model in a new file; refuse an old one that another model made."""
        stated = {"model": name, "fingerprint": fingerprint, "dimension": str(self._dimension)}
        with self._transaction():
            self._db.executemany("INSERT OR IGNORE INTO meta VALUES (?, ?)", stated.items())
        found = dict(self._db.execute("SELECT key, value FROM meta"))
        if found.get("fingerprint") != fingerprint:
            raise ModelMismatchError(
                f"index {self.path} was made by model {found.get('model')} ({str(found.get('fingerprint'))[:12]}), "
                f"not by {name} ({fingerprint[:12]}). Use that model (--model), or make a new index (--index NEW)"
            )

    def close(self) -> None:
        """Close the file."""
        self._db.close()

    def change_counter(self) -> int:
        """A number that changes when another connection has written.

        :return: SQLite's data_version
        """
        with self._guard():
            return int(self._db.execute("PRAGMA data_version").fetchone()[0])

    def count(self) -> int:
        """How many photos can be found.

        :return: rows with a vector
        """
        with self._guard():
            query = "SELECT count(*) FROM photos JOIN contents USING (hash) WHERE vector IS NOT NULL"
            return int(self._db.execute(query).fetchone()[0])

    def known_files(self, root: str) -> dict[str, tuple[int, int]]:
        """The files at or below a path whose state is settled: read, and its content encoded or found unreadable.

        :param root: an absolute path
        :return: path -> (size, mtime in ns)
        """
        query = "SELECT path, size, mtime_ns FROM photos JOIN contents USING (hash) WHERE " + _BELOW
        with self._guard():
            return {path: (size, mtime) for path, size, mtime in self._db.execute(query, _below(root))}

    def paths_below(self, root: str) -> list[str]:
        """All files at or below a path that the catalog names.

        :param root: an absolute path
        :return: absolute paths
        """
        with self._guard():
            return [row[0] for row in self._db.execute(f"SELECT path FROM photos WHERE {_BELOW}", _below(root))]

    def has_content(self, digest: bytes) -> bool:
        """Whether a content has been encoded or found unreadable.

        :param digest: its sha256
        :return: whether it is known
        """
        with self._guard():
            return self._db.execute("SELECT 1 FROM contents WHERE hash = ?", (digest,)).fetchone() is not None

    def save(self, photos: Iterable[Photo], contents: Iterable[Content]) -> None:
        """Write files and contents in one transaction; what is there under the same key is replaced.

        :param photos: files
        :param contents: what contents became
        """
        content_rows = [
            (item.hash, None if item.vector is None else to_bytes(item.vector), item.error) for item in contents
        ]
        photo_rows = [(photo.path, photo.size, photo.mtime_ns, photo.hash, photo.error) for photo in photos]
        with self._transaction():
            self._db.executemany("INSERT OR REPLACE INTO contents VALUES (?, ?, ?)", content_rows)
            self._db.executemany("INSERT OR REPLACE INTO photos VALUES (?, ?, ?, ?, ?)", photo_rows)

    def forget(self, paths: Iterable[str]) -> None:
        """Take files out. Their contents stay, so that a file which comes back need not be encoded again.

        :param paths: absolute paths
        """
        with self._transaction():
            self._db.executemany("DELETE FROM photos WHERE path = ?", ((path,) for path in paths))

    def failures(self) -> list[tuple[str, str]]:
        """The files that have no vector.

        :return: (path, reason), in the order of paths
        """
        query = """
            SELECT path, coalesce(photos.error, contents.error) AS reason
            FROM photos LEFT JOIN contents USING (hash) WHERE reason IS NOT NULL ORDER BY path
        """
        with self._guard():
            return list(self._db.execute(query))

    def vectors(self) -> tuple[list[str], FloatArray]:
        """Everything that can be found.

        :return: absolute paths in order, and float32 (n, d) vectors, unit rows within float16 rounding
        """
        query = "SELECT path, vector FROM photos JOIN contents USING (hash) WHERE vector IS NOT NULL ORDER BY path"
        with self._guard():
            rows = self._db.execute(query).fetchall()
        if any(len(stored) != 2 * self._dimension for _, stored in rows):
            raise CatalogError(f"index {self.path} is damaged: a vector does not have {self._dimension} numbers")
        if not rows:
            return [], np.empty((0, self._dimension), dtype=np.float32)
        return [path for path, _ in rows], from_bytes(b"".join(stored for _, stored in rows), self._dimension)


# A path itself, or whatever starts with it and a separator.
_BELOW = "(path = ? OR (path > ? AND path < ?))"


def _below(root: str) -> tuple[str, str, str]:
    """The parameters of _BELOW."""
    stem = root.rstrip(os.sep)
    return root, stem + os.sep, stem + chr(ord(os.sep) + 1)
