"""Tables of a catalog, by version. docs/reference/stored-formats.md describes every column."""

import os
import sqlite3
import time
from pathlib import Path

from babelclip.errors import CatalogError
from babelclip.text.normalize import normalize_text

APPLICATION_ID = int.from_bytes(b"bclp", "big")
PAGE_BYTES = 16384
"""Fifteen vectors of 512 float16 numbers fill a page; in one of 4096 a quarter would stay empty."""
RETRY_SECONDS = 0.02
FIRST_VERSION = 2
"""The version that the first migration creates; version 1 was never released."""

_MIGRATIONS: tuple[tuple[str, ...], ...] = (
    (
        "CREATE TABLE meta (key TEXT PRIMARY KEY, value TEXT NOT NULL) WITHOUT ROWID",
        """
        CREATE TABLE contents (
            id INTEGER PRIMARY KEY AUTOINCREMENT,
            hash BLOB NOT NULL UNIQUE CHECK (length(hash) = 32),
            error TEXT,
            kind TEXT NOT NULL DEFAULT 'image',
            facts INTEGER NOT NULL DEFAULT 0,
            width INTEGER,
            height INTEGER,
            duration_ms INTEGER,
            taken_at TEXT,
            latitude REAL,
            longitude REAL,
            camera TEXT,
            caption TEXT,
            favourite INTEGER NOT NULL DEFAULT 0
        )
        """,
        "CREATE INDEX contents_by_time ON contents (taken_at)",
        """
        CREATE TABLE tags (
            content INTEGER NOT NULL,
            tag TEXT NOT NULL,
            source TEXT NOT NULL,
            PRIMARY KEY (content, tag, source)
        ) WITHOUT ROWID
        """,
        "CREATE INDEX tags_by_name ON tags (tag)",
        """
        CREATE TABLE photos (
            id INTEGER PRIMARY KEY AUTOINCREMENT,
            path TEXT NOT NULL UNIQUE,
            folder TEXT NOT NULL,
            size INTEGER NOT NULL,
            mtime_ns INTEGER NOT NULL,
            sidecar_ns INTEGER NOT NULL DEFAULT 0,
            content INTEGER,
            error TEXT,
            CHECK ((content IS NULL) <> (error IS NULL))
        )
        """,
        "CREATE INDEX photos_by_content ON photos (content)",
        "CREATE INDEX photos_by_folder ON photos (folder)",
        """
        CREATE TABLE vectors (
            id INTEGER PRIMARY KEY AUTOINCREMENT,
            content INTEGER NOT NULL,
            at_ms INTEGER,
            vector BLOB NOT NULL
        )
        """,
        "CREATE INDEX vectors_by_content ON vectors (content)",
        "CREATE TABLE retired (content INTEGER NOT NULL, at_ms INTEGER, vector BLOB NOT NULL, since INTEGER NOT NULL)",
        "CREATE INDEX retired_by_content ON retired (content)",
        "CREATE TABLE removals (id INTEGER PRIMARY KEY AUTOINCREMENT, vector INTEGER NOT NULL)",
        "CREATE TABLE archives (path TEXT PRIMARY KEY, size INTEGER NOT NULL, mtime_ns INTEGER NOT NULL) WITHOUT ROWID",
        "INSERT INTO meta VALUES ('identity', lower(hex(randomblob(16))))",
    ),
)
"""The first migration creates the tables; migration i takes a file from version i + 1 to i + 2. A released migration
never changes.
"""
VERSION = FIRST_VERSION + len(_MIGRATIONS) - 1


def version(db: sqlite3.Connection) -> int:
    """Read the version of an open file.

    :param db: the connection
    :return: the version; 0 for a new file
    """
    return int(db.execute("PRAGMA user_version").fetchone()[0])


def prepare(db: sqlite3.Connection, path: Path) -> None:
    """Check that a file is new or a catalog of a known version, and set the connection up.

    :param db: the connection, outside a transaction
    :param path: the file, for messages
    :raises CatalogError: if another program created the file, or its version is not known
    """
    # The order matters: another process may create the tables in between, and they come with their application id.
    tables = db.execute("SELECT count(*) FROM sqlite_schema").fetchone()[0]
    application = int(db.execute("PRAGMA application_id").fetchone()[0])
    if tables and application != APPLICATION_ID:
        raise CatalogError(f"{path} is an SQLite file, but not an index of babelclip")
    if version(db) > VERSION:
        raise CatalogError(f"index {path} was made by a newer babelclip; update to read it")
    if 0 < version(db) < FIRST_VERSION:
        raise CatalogError(f"index {path} was made by an unreleased babelclip; make a new index (--index NEW)")
    db.create_function("folder_of", 1, os.path.dirname, deterministic=True)
    db.create_function("normalize_text", 1, lambda text: text and normalize_text(text), deterministic=True)
    if not tables:
        db.execute(f"PRAGMA page_size = {PAGE_BYTES}")
    _enable_write_ahead_log(db)
    db.execute("PRAGMA synchronous = NORMAL")


def _enable_write_ahead_log(db: sqlite3.Connection) -> None:
    """Turn the write-ahead log on, and wait for other processes that create the same file: the wait that
    ``PRAGMA busy_timeout`` sets does not cover this statement.
    """
    deadline = time.monotonic() + db.execute("PRAGMA busy_timeout").fetchone()[0] / 1000
    while True:
        try:
            db.execute("PRAGMA journal_mode = WAL")
            return
        except sqlite3.OperationalError as error:
            if error.sqlite_errorcode != sqlite3.SQLITE_BUSY or time.monotonic() >= deadline:
                raise
        time.sleep(RETRY_SECONDS)


def migrate(db: sqlite3.Connection) -> None:
    """Bring a file to the newest version.

    :param db: the connection, inside a transaction
    """
    # The version is read inside the transaction: another process may have migrated the file meanwhile.
    current = version(db)
    for statements in _MIGRATIONS[max(0, current - FIRST_VERSION + 1) :]:
        for statement in statements:
            db.execute(statement)
    db.execute(f"PRAGMA application_id = {APPLICATION_ID}")
    db.execute(f"PRAGMA user_version = {VERSION}")
