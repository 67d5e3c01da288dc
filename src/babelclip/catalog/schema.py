"""The tables of a catalog, version by version. docs/reference/stored-formats.md says what every column holds."""

import os
import sqlite3
import time
from pathlib import Path

from babelclip.errors import CatalogError
from babelclip.text.normalize import normalize_text

APPLICATION_ID = int.from_bytes(b"bclp", "big")
PAGE_BYTES = 16384
"""Fifteen vectors of 512 float16 numbers fill a page; in one of 4096 a quarter would stay empty."""
PAUSE_SECONDS = 0.02

_MIGRATIONS: tuple[tuple[str, ...], ...] = (
    (
        "CREATE TABLE meta (key TEXT PRIMARY KEY, value TEXT NOT NULL) WITHOUT ROWID",
        """
        CREATE TABLE contents (
            hash BLOB PRIMARY KEY CHECK (length(hash) = 32),
            vector BLOB,
            error TEXT,
            CHECK ((vector IS NULL) <> (error IS NULL))
        )
        """,
        """
        CREATE TABLE photos (
            path TEXT PRIMARY KEY,
            size INTEGER NOT NULL,
            mtime_ns INTEGER NOT NULL,
            hash BLOB,
            error TEXT,
            CHECK ((hash IS NULL) <> (error IS NULL))
        )
        """,
        "CREATE INDEX photos_by_hash ON photos (hash)",
    ),
    (
        "ALTER TABLE contents RENAME TO contents_1",
        "ALTER TABLE photos RENAME TO photos_1",
        "DROP INDEX photos_by_hash",
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
        "INSERT INTO contents (hash, error) SELECT hash, error FROM contents_1 ORDER BY rowid",
        """
        INSERT INTO photos (path, folder, size, mtime_ns, content, error)
        SELECT path, folder_of(path), size, mtime_ns, contents.id, photos_1.error
        FROM photos_1 LEFT JOIN contents USING (hash)
        WHERE photos_1.error IS NOT NULL OR contents.id IS NOT NULL
        """,
        """
        INSERT INTO vectors (content, vector) SELECT id, vector FROM contents JOIN contents_1 USING (hash)
        WHERE vector IS NOT NULL AND id IN (SELECT content FROM photos) ORDER BY id
        """,
        """
        INSERT INTO retired SELECT id, NULL, vector, CAST(strftime('%s', 'now') AS INTEGER)
        FROM contents JOIN contents_1 USING (hash)
        WHERE vector IS NOT NULL AND id NOT IN (SELECT content FROM photos WHERE content IS NOT NULL) ORDER BY id
        """,
        "DROP TABLE contents_1",
        "DROP TABLE photos_1",
        "INSERT INTO meta VALUES ('identity', lower(hex(randomblob(16))))",
        "INSERT OR IGNORE INTO meta SELECT 'vectors', 'float16' WHERE EXISTS (SELECT 1 FROM meta WHERE key = 'model')",
    ),
)
"""Migration i takes a file from version i to i + 1; a landed one never changes."""
VERSION = len(_MIGRATIONS)


def version(db: sqlite3.Connection) -> int:
    """The version of the form of an open file.

    :param db: the connection
    :return: 0 for a new file
    """
    return int(db.execute("PRAGMA user_version").fetchone()[0])


def prepare(db: sqlite3.Connection, path: Path) -> None:
    """Check that a file is a catalog, or new, and that it is not from the future; set how it is written.

    :param db: the connection, outside a transaction
    :param path: the file, for messages
    :raises CatalogError: if it is another program's, or newer
    """
    # In this order: another process may make the file between the two, and its tables come with their id.
    tables = db.execute("SELECT count(*) FROM sqlite_schema").fetchone()[0]
    application = int(db.execute("PRAGMA application_id").fetchone()[0])
    if tables and application != APPLICATION_ID:
        raise CatalogError(f"{path} is an SQLite file, but not an index of babelclip")
    if version(db) > VERSION:
        raise CatalogError(f"index {path} was made by a newer babelclip; update to read it")
    db.create_function("folder_of", 1, os.path.dirname, deterministic=True)
    db.create_function("normalize_text", 1, lambda text: text and normalize_text(text), deterministic=True)
    if not tables:
        db.execute(f"PRAGMA page_size = {PAGE_BYTES}")
    _write_ahead(db)
    db.execute("PRAGMA synchronous = NORMAL")


def _write_ahead(db: sqlite3.Connection) -> None:
    """Turn the write-ahead log on. Others that make the same file are waited for here: SQLite's own waiting, which
    ``PRAGMA busy_timeout`` sets, does not reach this statement.
    """
    until = time.monotonic() + db.execute("PRAGMA busy_timeout").fetchone()[0] / 1000
    while True:
        try:
            db.execute("PRAGMA journal_mode = WAL")
            return
        except sqlite3.OperationalError as error:
            if error.sqlite_errorcode != sqlite3.SQLITE_BUSY or time.monotonic() >= until:
                raise
        time.sleep(PAUSE_SECONDS)


def migrate(db: sqlite3.Connection) -> None:
    """Bring a file to this version, step by step.

    :param db: the connection, inside a transaction
    """
    # The version is looked up inside the transaction: another process may have done it meanwhile.
    for statements in _MIGRATIONS[version(db) :]:
        for statement in statements:
            db.execute(statement)
    db.execute(f"PRAGMA application_id = {APPLICATION_ID}")
    db.execute(f"PRAGMA user_version = {VERSION}")
