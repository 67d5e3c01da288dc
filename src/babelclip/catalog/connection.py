"""The file of a catalog: opening, checking and migrating it, transactions, and what SQLite raises told as ours."""

import os
import sqlite3
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from babelclip.catalog import schema
from babelclip.errors import CatalogError, InputError, ModelMismatchError
from babelclip.vectors import StoredForm

BUSY_TIMEOUT_SECONDS = 30.0


class CatalogFile:
    """An open file, checked to be a catalog of this version and of the model at hand."""

    def __init__(
        self, path: Path, *, model_name: str, fingerprint: str, dimension: int, vectors: StoredForm | None = None
    ) -> None:
        """Open a catalog, or make one.

        :param path: the file; its folder is made if need be
        :param model_name: the model's name, for messages
        :param fingerprint: what tells the model's vectors from another's
        :param dimension: the length of a vector
        :param vectors: how vectors are stored; None takes what the file has, float16 in a new one
        :raises CatalogError: if the file is not a catalog, is damaged, locked or newer than this version
        :raises ModelMismatchError: if it was made by another model
        """
        self.path = path
        self._dimension = dimension
        with self._guard():
            path.parent.mkdir(parents=True, exist_ok=True)
            self._db = self._connect()
        try:
            with self._guard():
                schema.prepare(self._db, path)
            if schema.version(self._db) < schema.VERSION:
                with self._transaction():
                    schema.migrate(self._db)
            self._meta = self._check_model(model_name, fingerprint, vectors)
        except BaseException:
            self._db.close()
            raise
        self._form: StoredForm = "int8" if self._meta["vectors"] == "int8" else "float16"

    def _connect(self) -> sqlite3.Connection:
        """Open the file; on a medium that is read-only it needs no log beside it, which could not be made."""
        log = self.path.with_name(self.path.name + "-wal")
        fixed = self.path.is_file() and not log.exists() and _read_only(self.path)
        file = f"{self.path.absolute().as_uri()}?immutable=1" if fixed else self.path
        return sqlite3.connect(file, timeout=BUSY_TIMEOUT_SECONDS, isolation_level=None, uri=fixed)

    @contextmanager
    def _guard(self) -> Iterator[None]:
        """Turn what SQLite and the file system raise into a CatalogError that names the file and the way out."""
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
    def _transaction(self) -> Iterator[None]:
        """All of the block's writes, or none."""
        with self._guard():
            self._db.execute("BEGIN IMMEDIATE")
            try:
                yield
                self._db.execute("COMMIT")
            except BaseException:
                # A full disk may have ended the transaction already.
                if self._db.in_transaction:
                    self._db.execute("ROLLBACK")
                raise

    def _check_model(self, name: str, fingerprint: str, vectors: StoredForm | None) -> dict[str, str]:
        """Note the model in a new file; refuse an old one that another model made."""
        stated = {
            "model": name,
            "fingerprint": fingerprint,
            "dimension": str(self._dimension),
            "vectors": vectors or "float16",
        }
        found = self._read_meta()
        if stated.keys() - found.keys():
            with self._transaction():
                self._db.executemany("INSERT OR IGNORE INTO meta VALUES (?, ?)", stated.items())
            found = self._read_meta()
        if found["fingerprint"] != fingerprint:
            raise ModelMismatchError(
                f"index {self.path} was made by model {found['model']} ({found['fingerprint'][:12]}), "
                f"not by {name} ({fingerprint[:12]}). Use that model (--model), or make a new index (--index NEW)"
            )
        if vectors is not None and found["vectors"] != vectors:
            raise InputError(
                f"index {self.path} stores its vectors as {found['vectors']}, not {vectors}; "
                "make a new index (--index NEW)"
            )
        return found

    def _read_meta(self) -> dict[str, str]:
        with self._guard():
            return dict(self._db.execute("SELECT key, value FROM meta"))

    @property
    def identity(self) -> str:
        """32 hexadecimal digits that no other catalog has; what is derived from a catalog notes them."""
        return self._meta["identity"]

    def close(self) -> None:
        """Close the file."""
        self._db.close()

    def rows(self, query: str, parameters: Sequence[Any] | dict[str, Any] = ()) -> list[tuple[Any, ...]]:
        """The rows of a query on the tables, for filters.

        :param query: a SELECT
        :param parameters: what its placeholders stand for
        :return: its rows
        :raises CatalogError: if the file cannot be read
        """
        with self._guard():
            return self._db.execute(query, parameters).fetchall()


def _read_only(path: Path) -> bool:
    """Whether a file lies on a medium that is mounted to be read alone."""
    return hasattr(os, "statvfs") and bool(os.statvfs(path).f_flag & os.ST_RDONLY)
