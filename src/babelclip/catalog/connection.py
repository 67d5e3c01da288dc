"""Connection to the SQLite file of a catalog: opening, model check, transactions, error translation."""

import os
import sqlite3
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from babelclip.catalog import schema
from babelclip.catalog.vector_format import StoredForm
from babelclip.errors import CatalogError, InputError, ModelMismatchError

BUSY_TIMEOUT_SECONDS = 30.0


class Connection:
    """An open SQLite file, checked to be a catalog of this version and of the given model."""

    def __init__(
        self, path: Path, *, model_name: str, fingerprint: str, dimension: int, vectors: StoredForm | None = None
    ) -> None:
        """Open a catalog file, or create it.

        :param path: the file; missing parent folders are created
        :param model_name: name of the model, for messages
        :param fingerprint: fingerprint of the model
        :param dimension: dimension of its vectors
        :param vectors: number format of stored vectors; None takes the file's own, float16 in a new file
        :raises CatalogError: if the file is not a catalog, is damaged, locked or newer than this version
        :raises ModelMismatchError: if another model created the file
        """
        self.path = path
        self.dimension = dimension
        with self._translated_errors():
            path.parent.mkdir(parents=True, exist_ok=True)
            self._db = self._connect()
        try:
            with self._translated_errors():
                schema.prepare(self._db, path)
            if schema.version(self._db) < schema.VERSION:
                with self.transaction():
                    schema.migrate(self._db)
            self._meta = self._check_model(model_name, fingerprint, vectors)
        except BaseException:
            self._db.close()
            raise
        self.stored_form: StoredForm = "int8" if self._meta["vectors"] == "int8" else "float16"

    def _connect(self) -> sqlite3.Connection:
        """Open the file. On a read-only medium no write-ahead log can be created beside it, so none is used."""
        log = self.path.with_name(self.path.name + "-wal")
        immutable = self.path.is_file() and not log.exists() and on_read_only_medium(self.path)
        file = f"{self.path.absolute().as_uri()}?immutable=1" if immutable else self.path
        return sqlite3.connect(file, timeout=BUSY_TIMEOUT_SECONDS, isolation_level=None, uri=immutable)

    @contextmanager
    def _translated_errors(self) -> Iterator[None]:
        """Turn errors of SQLite and the file system into a CatalogError that names the file and the way out."""
        try:
            yield
        except sqlite3.OperationalError as error:
            hints = {
                "locked": " Another program is writing to it; try again.",
                "readonly": " It lies where nothing can be written; copy it elsewhere to change it.",
                "full": " Make room; what was saved before stands, and the same command goes on from there.",
            }
            hint = next((text for word, text in hints.items() if word in str(error)), "")
            raise CatalogError(f"index {self.path}: {error}.{hint}") from None
        except UnicodeEncodeError as error:
            raise InputError(f"{error.object!r} is not valid UTF-8, so nothing in an index is called so") from None
        except (sqlite3.DatabaseError, OSError) as error:
            raise CatalogError(f"index {self.path} cannot be used: {error}") from None

    @contextmanager
    def transaction(self) -> Iterator[sqlite3.Connection]:
        """Write in one transaction: all statements of the block take effect, or none.

        :yield: the connection to execute statements on
        :raises CatalogError: if the file cannot be written
        """
        with self._translated_errors():
            self._db.execute("BEGIN IMMEDIATE")
            try:
                yield self._db
                self._db.execute("COMMIT")
            except BaseException:
                # A full disk may have ended the transaction already.
                if self._db.in_transaction:
                    self._db.execute("ROLLBACK")
                raise

    def _check_model(self, name: str, fingerprint: str, vectors: StoredForm | None) -> dict[str, str]:
        """Write the model into a new file; refuse a file that another model created."""
        expected = {
            "model": name,
            "fingerprint": fingerprint,
            "dimension": str(self.dimension),
            "vectors": vectors or "float16",
        }
        meta = self._read_meta()
        if expected.keys() - meta.keys():
            with self.transaction():
                self._db.executemany("INSERT OR IGNORE INTO meta VALUES (?, ?)", expected.items())
            meta = self._read_meta()
        if meta["fingerprint"] != fingerprint:
            raise ModelMismatchError(
                f"index {self.path} was made by model {meta['model']} ({meta['fingerprint'][:12]}), "
                f"not by {name} ({fingerprint[:12]}). Use that model (--model), or make a new index (--index NEW)"
            )
        if vectors is not None and meta["vectors"] != vectors:
            raise InputError(
                f"index {self.path} stores its vectors as {meta['vectors']}, not {vectors}; "
                "make a new index (--index NEW)"
            )
        return meta

    def _read_meta(self) -> dict[str, str]:
        return dict(self.rows("SELECT key, value FROM meta"))

    @property
    def identity(self) -> str:
        """Random id of the catalog, 32 hexadecimal digits; files derived from a catalog record it."""
        return self._meta["identity"]

    def close(self) -> None:
        """Close the file."""
        self._db.close()

    def rows(self, query: str, parameters: Sequence[Any] | dict[str, Any] = ()) -> list[tuple[Any, ...]]:
        """Read all rows of a query.

        :param query: a SELECT
        :param parameters: values of its placeholders
        :return: the rows
        :raises CatalogError: if the file cannot be read
        """
        with self._translated_errors():
            return self._db.execute(query, parameters).fetchall()

    def row_blocks(self, query: str, block: int) -> Iterator[list[tuple[Any, ...]]]:
        """Read the rows of a query in blocks.

        :param query: a SELECT
        :param block: maximum number of rows of a block
        :yield: rows
        :raises CatalogError: if the file cannot be read
        """
        with self._translated_errors():
            cursor = self._db.execute(query)
            while rows := cursor.fetchmany(block):
                yield rows


def on_read_only_medium(path: Path) -> bool:
    """Check whether a file lies on a medium that is mounted read-only.

    :param path: the file
    :return: whether it does
    """
    return hasattr(os, "statvfs") and bool(os.statvfs(path).f_flag & os.ST_RDONLY)
