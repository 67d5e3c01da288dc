"""Catalog of a photo collection: one SQLite file, from which everything else is derived.

The tables are in schema.py; docs/reference/stored-formats.md describes every column. Three rules:

- Vectors, metadata and tags belong to contents (by sha256), not to files, so a renamed, moved or copied photo keeps
  them.
- ``vectors`` holds exactly the vectors that can be found. When the last file of a content is removed, its vectors are
  retired; when a file of it returns, they return under new ids. Ids only grow and are never reused, so a reader that
  keeps a ``Cursor`` can read what was added and removed since.
- Writes are transactions over a write-ahead log: after a kill at any moment the last complete transaction stands, and
  other processes may read meanwhile.
"""

import sqlite3
import time
from collections.abc import Iterable
from dataclasses import asdict
from pathlib import Path

import numpy as np

from babelclip.catalog.connection import Connection
from babelclip.catalog.photo_reader import BELOW, PhotoReader, below
from babelclip.catalog.records import ContentRecord, Photo
from babelclip.catalog.vector_format import StoredForm, to_bytes
from babelclip.catalog.vector_reader import VectorReader
from babelclip.errors import InputError
from babelclip.media.archives import archive_of
from babelclip.media.metadata import METADATA_VERSION, Metadata

KEEP_RETIRED_DAYS = 90
SECONDS_A_DAY = 86400


class Catalog:
    """An open catalog. It writes photos, contents and tags; ``photos`` and ``vectors`` read them.

    One thread uses a catalog at a time; several processes may share the file.
    """

    def __init__(
        self, path: Path, *, model_name: str, fingerprint: str, dimension: int, vectors: StoredForm | None = None
    ) -> None:
        """Open a catalog, or create it.

        :param path: the file; missing parent folders are created
        :param model_name: name of the model, for messages
        :param fingerprint: fingerprint of the model
        :param dimension: dimension of its vectors
        :param vectors: number format of stored vectors; None takes the file's own, float16 in a new file
        :raises CatalogError: if the file is not a catalog, is damaged, locked or newer than this version
        :raises ModelMismatchError: if another model created the file
        """
        self.connection = Connection(
            path, model_name=model_name, fingerprint=fingerprint, dimension=dimension, vectors=vectors
        )
        self.photos = PhotoReader(self.connection)
        self.vectors = VectorReader(self.connection)

    @property
    def path(self) -> Path:
        """Path of the SQLite file."""
        return self.connection.path

    def close(self) -> None:
        """Close the file."""
        self.connection.close()

    def save(
        self,
        photos: Iterable[Photo],
        contents: Iterable[ContentRecord],
        metadata: Iterable[tuple[Photo, Metadata]] = (),
    ) -> None:
        """Write photos and contents in one transaction. A known content keeps its vectors; its metadata is replaced.

        :param photos: photos; a photo replaces the one under the same path
        :param contents: results for contents
        :param metadata: new metadata of photos in the catalog; only ``path`` and ``sidecar_ns`` of the photo are used
        """
        with self.connection.transaction() as db:
            changed = {self._save_content(db, content) for content in contents}
            for photo in photos:
                changed |= _save_photo(db, photo)
            _update_vectors(db, changed)
            for photo, new in metadata:
                query = "UPDATE photos SET sidecar_ns = ? WHERE path = ? AND content IS NOT NULL RETURNING content"
                for (content_id,) in db.execute(query, (photo.sidecar_ns, photo.path)).fetchall():
                    _save_metadata(db, content_id, new)

    def _save_content(self, db: sqlite3.Connection, content: ContentRecord) -> int:
        """Write a content and return its id; its vectors stay retired until a photo has it."""
        query = "SELECT id FROM contents WHERE hash = ?"
        row = db.execute(query, (content.hash,)).fetchone()
        if row is None:
            db.execute("INSERT INTO contents (hash, error) VALUES (?, ?)", (content.hash, content.error))
            row = db.execute(query, (content.hash,)).fetchone()
            if content.vector is not None:
                vectors = np.atleast_2d(content.vector)
                times = content.at_ms or (None,) * len(vectors)
                now = int(time.time())
                form = self.connection.stored_form
                db.executemany(
                    "INSERT INTO retired VALUES (?, ?, ?, ?)",
                    [
                        (row[0], at_ms, to_bytes(vector, form), now)
                        for at_ms, vector in zip(times, vectors, strict=True)
                    ],
                )
        if content.metadata is not None:
            _save_metadata(db, row[0], content.metadata)
        return int(row[0])

    def forget(self, paths: Iterable[str]) -> None:
        """Remove photos. Their contents are retired, so that a file that returns is not encoded again.

        :param paths: absolute paths of files, members of archives, and archives
        """
        with self.connection.transaction() as db:
            changed = set()
            for path in paths:
                rows = db.execute("DELETE FROM photos WHERE path = ? RETURNING content", (path,)).fetchall()
                changed |= {content_id for (content_id,) in rows if content_id is not None}
                db.execute("DELETE FROM archives WHERE path = ?", (archive_of(path) or path,))
            _update_vectors(db, changed)

    def purge(self, days: float = KEEP_RETIRED_DAYS) -> int:
        """Delete contents that have had no file for some time: their vectors, metadata and tags.

        :param days: minimum time without a file
        :return: number of deleted contents
        """
        before = time.time() - days * SECONDS_A_DAY
        query = "SELECT DISTINCT content FROM retired WHERE since <= ?"
        if not self.connection.rows(query + " LIMIT 1", (before,)):
            return 0
        with self.connection.transaction() as db:
            contents = [(row[0],) for row in db.execute(query, (before,)).fetchall()]
            for condition in ("tags WHERE content = ?", "retired WHERE content = ?", "contents WHERE id = ?"):
                db.executemany(f"DELETE FROM {condition}", contents)
        return len(contents)

    def finish_archive(self, path: str, size: int, mtime_ns: int) -> None:
        """Record that all members of an archive have been processed.

        :param path: the archive
        :param size: its size in bytes
        :param mtime_ns: its time of change in ns
        """
        with self.connection.transaction() as db:
            db.execute("INSERT OR REPLACE INTO archives VALUES (?, ?, ?)", (path, size, mtime_ns))

    def tag(
        self,
        paths: Iterable[str],
        *,
        add: Iterable[str] = (),
        remove: Iterable[str] = (),
        favourite: bool | None = None,
    ) -> list[tuple[str, bool, list[str]]]:
        """Set the user's tags of photos. Tags belong to the content: copies have them too, and they survive a move.

        :param paths: absolute paths, or folders for all photos below them
        :param add: tags to add
        :param remove: tags to remove; keywords of the file itself stay
        :param favourite: whether the photos are favourites; None leaves that unchanged
        :return: path, whether it is a favourite, and all tags of each photo
        :raises InputError: if a path is not in the catalog
        """
        tagged: dict[str, int] = {}
        for path in paths:
            query = f"SELECT path, content FROM photos WHERE content IS NOT NULL AND {BELOW} ORDER BY path"
            content_ids = {row[0]: row[1] for row in self.connection.rows(query, below(path))}
            if not content_ids:
                raise InputError(f"{path} is not in the index; add it with: babelclip index {path}")
            tagged.update(content_ids)
        with self.connection.transaction() as db:
            for content_id in dict.fromkeys(tagged.values()):
                rows = [(content_id, word) for word in remove]
                db.executemany("DELETE FROM tags WHERE content = ? AND tag = ? AND source = 'user'", rows)
                rows = [(content_id, word) for word in add]
                db.executemany("INSERT OR IGNORE INTO tags VALUES (?, ?, 'user')", rows)
                if favourite is not None:
                    db.execute("UPDATE contents SET favourite = ? WHERE id = ?", (int(favourite), content_id))
        return [(path, *self._tags_of(content_id)) for path, content_id in tagged.items()]

    def _tags_of(self, content_id: int) -> tuple[bool, list[str]]:
        """Read whether a content is a favourite, and its tags."""
        tags = self.connection.rows("SELECT DISTINCT tag FROM tags WHERE content = ? ORDER BY tag", (content_id,))
        favourite = self.connection.rows("SELECT favourite FROM contents WHERE id = ?", (content_id,))
        return bool(favourite and favourite[0][0]), [row[0] for row in tags]


def _save_metadata(db: sqlite3.Connection, content_id: int, metadata: Metadata) -> None:
    """Replace the metadata of a content; the user's tags stay."""
    columns = ("kind", "width", "height", "duration_ms", "taken_at", "latitude", "longitude", "camera", "caption")
    db.execute(
        f"UPDATE contents SET facts = ?, {', '.join(f'{column} = ?' for column in columns)} WHERE id = ?",
        (METADATA_VERSION, *(getattr(metadata, column) for column in columns), content_id),
    )
    db.execute("DELETE FROM tags WHERE content = ? AND source = 'file'", (content_id,))
    rows = [(content_id, word) for word in metadata.keywords]
    db.executemany("INSERT OR IGNORE INTO tags VALUES (?, ?, 'file')", rows)


def _save_photo(db: sqlite3.Connection, photo: Photo) -> set[int]:
    """Write a photo; return the ids of its content before and after."""
    before = db.execute("SELECT content FROM photos WHERE path = ?", (photo.path,)).fetchone()
    content_id = None
    if photo.hash is not None:
        row = db.execute("SELECT id FROM contents WHERE hash = ?", (photo.hash,)).fetchone()
        if row is None:
            # Another process has purged the content meanwhile.
            return set()
        content_id = row[0]
    db.execute(
        "INSERT INTO photos (path, folder, size, mtime_ns, sidecar_ns, content, error) "
        "VALUES (:path, folder_of(:path), :size, :mtime_ns, :sidecar_ns, :content, :error) "
        "ON CONFLICT (path) DO UPDATE SET size = excluded.size, mtime_ns = excluded.mtime_ns, "
        "sidecar_ns = excluded.sidecar_ns, content = excluded.content, error = excluded.error",
        {**asdict(photo), "content": content_id},
    )
    return {changed for changed in (content_id, before and before[0]) if changed is not None}


def _update_vectors(db: sqlite3.Connection, content_ids: Iterable[int]) -> None:
    """Retire the vectors of contents that no photo has any more; restore the vectors of contents that a photo has."""
    for content_id in content_ids:
        parameters = (content_id,)
        if db.execute("SELECT 1 FROM photos WHERE content = ? LIMIT 1", parameters).fetchone():
            db.execute(
                "INSERT INTO vectors (content, at_ms, vector) "
                "SELECT content, at_ms, vector FROM retired WHERE content = ? ORDER BY at_ms",
                parameters,
            )
            db.execute("DELETE FROM retired WHERE content = ?", parameters)
        else:
            db.execute("INSERT INTO removals (vector) SELECT id FROM vectors WHERE content = ?", parameters)
            db.execute(
                "INSERT INTO retired SELECT content, at_ms, vector, CAST(strftime('%s', 'now') AS INTEGER) "
                "FROM vectors WHERE content = ?",
                parameters,
            )
            db.execute("DELETE FROM vectors WHERE content = ?", parameters)
