"""The catalog: one SQLite file that is the truth about a photo collection. Everything else is derived from it.

The tables are in schema.py; docs/reference/stored-formats.md describes every column. Three rules carry the rest:

- Vectors, facts and tags belong to contents (by sha256), not to files, so a renamed, moved or copied photo keeps them.
- ``vectors`` holds what can be found and nothing else. When the last file of a content goes, its vectors are retired;
  when one comes back, they return under new ids. Ids only grow and are never given twice, so a reader that remembers
  how far it has come (``Mark``) learns what is new and what is gone.
- Writes happen in transactions over a write-ahead log: after a kill at any moment the last whole transaction stands,
  and other processes may read meanwhile.
"""

import os
import time
from collections.abc import Iterable
from dataclasses import asdict, dataclass

import numpy as np

from babelclip.catalog.vector_reader import BLOCK_ROWS, CatalogVectors
from babelclip.errors import InputError
from babelclip.media.archives import INSIDE, archive_of
from babelclip.media.metadata import FACTS_VERSION, Facts
from babelclip.vectors import FloatArray, to_bytes

KEEP_RETIRED_DAYS = 90
SECONDS_A_DAY = 86400


@dataclass(frozen=True, slots=True)
class Photo:
    """A file as it was found: absolute path, size in bytes, time of change in nanoseconds, sha256 of its content.

    ``hash`` is None where the file could not be read, and ``error`` says why. ``sidecar_ns`` is the time of change of
    the XMP file beside it, 0 without one. A member of an archive has the archive's time.
    """

    path: str
    size: int
    mtime_ns: int
    hash: bytes | None
    error: str | None = None
    sidecar_ns: int = 0


@dataclass(frozen=True, slots=True)
class Content:
    """What a file content became: vectors and facts, or the reason why there are none.

    ``vector`` is float32 (d,) for a picture and (n, d) for a video, unit rows; ``at_ms`` are the n times of its frames.
    """

    hash: bytes
    vector: FloatArray | None
    error: str | None = None
    facts: Facts | None = None
    at_ms: tuple[int, ...] = ()


@dataclass(frozen=True, slots=True)
class Known:
    """A settled file as the catalog knows it; ``facts`` is the version of the reader that read its facts."""

    size: int
    mtime_ns: int
    sidecar_ns: int
    facts: int


class Catalog(CatalogVectors):
    """An open catalog. One thread uses it at a time; several processes may share the file."""

    def hashes_of(self, paths: Iterable[str]) -> dict[str, bytes]:
        """The contents of files.

        :param paths: absolute paths; what is not in the catalog is left out
        :return: sha256 by path
        """
        query = "SELECT hash FROM photos JOIN contents ON contents.id = content WHERE path = ?"
        found = {path: self.rows(query, (path,)) for path in paths}
        return {path: rows[0][0] for path, rows in found.items() if rows}

    def files_of(self, hash: bytes) -> list[str]:
        """The files that have a content.

        :param hash: its sha256
        :return: their paths, in order
        """
        query = "SELECT path FROM photos JOIN contents ON contents.id = content WHERE hash = ? ORDER BY path"
        return [path for (path,) in self.rows(query, (hash,))]

    def known_files(self, root: str) -> dict[str, Known]:
        """The files at or below a path whose state is settled: read, and their content encoded or found unreadable.

        :param root: an absolute path
        :return: what is known by path
        """
        return {path: Known(*rest) for path, *rest in self.rows(_KNOWN + _BELOW, _below(root))}

    def known_in(self, folder: str) -> dict[str, Known]:
        """The settled files of one folder, as ``known_files``.

        :param folder: an absolute path
        :return: what is known by path
        """
        return {path: Known(*rest) for path, *rest in self.rows(_KNOWN + "folder = ?", (folder,))}

    def paths_below(self, root: str) -> list[str]:
        """All files at or below a path that the catalog names, members of archives among them.

        :param root: an absolute path
        :return: absolute paths
        """
        return [row[0] for row in self.rows(f"SELECT path FROM photos WHERE {_BELOW}", _below(root))]

    def paths_in(self, folder: str) -> list[str]:
        """All files of one folder that the catalog names.

        :param folder: an absolute path
        :return: absolute paths
        """
        return [row[0] for row in self.rows("SELECT path FROM photos WHERE folder = ?", (folder,))]

    def folders_below(self, root: str) -> list[str]:
        """The folders at or below a path that have files in the catalog, those in archives among them.

        :param root: an absolute path
        :return: absolute paths
        """
        query = "SELECT DISTINCT folder FROM photos WHERE " + _BELOW.replace("path", "folder")
        return [row[0] for row in self.rows(query, _below(root))]

    def has_content(self, digest: bytes) -> bool:
        """Whether a content has been encoded or found unreadable.

        :param digest: its sha256
        :return: whether it is known
        """
        return bool(self.rows("SELECT 1 FROM contents WHERE hash = ?", (digest,)))

    def error_of(self, digest: bytes) -> str | None:
        """Why a content has no vector.

        :param digest: its sha256
        :return: the reason; None where it has one, or is not known
        """
        rows = self.rows("SELECT error FROM contents WHERE hash = ?", (digest,))
        return rows[0][0] if rows else None

    def save(
        self, photos: Iterable[Photo], contents: Iterable[Content], facts: Iterable[tuple[Photo, Facts]] = ()
    ) -> None:
        """Write files and contents in one transaction. A content that is there keeps its vectors and gets its facts.

        :param photos: files; what is there under the same path is replaced
        :param contents: what contents became
        :param facts: what files say of themselves that are there already; of the file its path and ``sidecar_ns`` count
        """
        with self._transaction():
            touched = {self._save_content(content) for content in contents}
            for photo in photos:
                touched |= self._save_photo(photo)
            self._settle(touched)
            for photo, said in facts:
                query = "UPDATE photos SET sidecar_ns = ? WHERE path = ? AND content IS NOT NULL RETURNING content"
                for (content,) in self._db.execute(query, (photo.sidecar_ns, photo.path)).fetchall():
                    self._save_facts(content, said)

    def _save_content(self, content: Content) -> int:
        """Write a content; its vectors stay retired until a file has it."""
        query = "SELECT id FROM contents WHERE hash = ?"
        found = self._db.execute(query, (content.hash,)).fetchone()
        if found is None:
            self._db.execute("INSERT INTO contents (hash, error) VALUES (?, ?)", (content.hash, content.error))
            found = self._db.execute(query, (content.hash,)).fetchone()
            if content.vector is not None:
                rows = np.atleast_2d(content.vector)
                times = content.at_ms or (None,) * len(rows)
                now = int(time.time())
                self._db.executemany(
                    "INSERT INTO retired VALUES (?, ?, ?, ?)",
                    [(found[0], at, to_bytes(row, self._form), now) for at, row in zip(times, rows, strict=True)],
                )
        if content.facts is not None:
            self._save_facts(found[0], content.facts)
        return int(found[0])

    def _save_facts(self, content: int, facts: Facts) -> None:
        """Replace what a content's file says of itself; what the user said of it stays."""
        columns = ("kind", "width", "height", "duration_ms", "taken_at", "latitude", "longitude", "camera", "caption")
        self._db.execute(
            f"UPDATE contents SET facts = ?, {', '.join(f'{column} = ?' for column in columns)} WHERE id = ?",
            (FACTS_VERSION, *(getattr(facts, column) for column in columns), content),
        )
        self._db.execute("DELETE FROM tags WHERE content = ? AND source = 'file'", (content,))
        self._db.executemany(
            "INSERT OR IGNORE INTO tags VALUES (?, ?, 'file')", [(content, word) for word in facts.keywords]
        )

    def _save_photo(self, photo: Photo) -> set[int]:
        """Write a file; gives the contents that it has now and had before."""
        before = self._db.execute("SELECT content FROM photos WHERE path = ?", (photo.path,)).fetchone()
        content = None
        if photo.hash is not None:
            row = self._db.execute("SELECT id FROM contents WHERE hash = ?", (photo.hash,)).fetchone()
            if row is None:
                # Another process has purged the content meanwhile.
                return set()
            content = row[0]
        self._db.execute(
            "INSERT INTO photos (path, folder, size, mtime_ns, sidecar_ns, content, error) "
            "VALUES (:path, folder_of(:path), :size, :mtime_ns, :sidecar_ns, :content, :error) "
            "ON CONFLICT (path) DO UPDATE SET size = excluded.size, mtime_ns = excluded.mtime_ns, "
            "sidecar_ns = excluded.sidecar_ns, content = excluded.content, error = excluded.error",
            {**asdict(photo), "content": content},
        )
        return {one for one in (content, before and before[0]) if one is not None}

    def _settle(self, contents: Iterable[int]) -> None:
        """Retire the vectors of contents that no file has any more, and bring back those of contents that one has."""
        for content in contents:
            used = self._db.execute("SELECT 1 FROM photos WHERE content = ? LIMIT 1", (content,)).fetchone()
            one = (content,)
            if used:
                self._db.execute(
                    "INSERT INTO vectors (content, at_ms, vector) "
                    "SELECT content, at_ms, vector FROM retired WHERE content = ? ORDER BY at_ms",
                    one,
                )
                self._db.execute("DELETE FROM retired WHERE content = ?", one)
            else:
                self._db.execute("INSERT INTO removals (vector) SELECT id FROM vectors WHERE content = ?", one)
                self._db.execute(
                    "INSERT INTO retired SELECT content, at_ms, vector, CAST(strftime('%s', 'now') AS INTEGER) "
                    "FROM vectors WHERE content = ?",
                    one,
                )
                self._db.execute("DELETE FROM vectors WHERE content = ?", one)

    def forget(self, paths: Iterable[str]) -> None:
        """Take files out. Their contents stay, retired, so that a file which comes back need not be encoded again.

        :param paths: absolute paths of files, members of archives, and archives
        """
        with self._transaction():
            touched = set()
            for path in paths:
                row = self._db.execute("DELETE FROM photos WHERE path = ? RETURNING content", (path,)).fetchall()
                touched |= {content for (content,) in row if content is not None}
                self._db.execute("DELETE FROM archives WHERE path = ?", (archive_of(path) or path,))
            self._settle(touched)

    def purge(self, days: float = KEEP_RETIRED_DAYS) -> int:
        """Take out what no file has had for a while: its vectors, its facts and its tags.

        :param days: how long it has been without a file
        :return: how many contents went
        """
        before = time.time() - days * SECONDS_A_DAY
        old = "SELECT DISTINCT content FROM retired WHERE since <= ?"
        if not self.rows(old + " LIMIT 1", (before,)):
            return 0
        with self._transaction():
            contents = [(row[0],) for row in self._db.execute(old, (before,)).fetchall()]
            for query in ("tags WHERE content = ?", "retired WHERE content = ?", "contents WHERE id = ?"):
                self._db.executemany(f"DELETE FROM {query}", contents)
        return len(contents)

    def finished_archive(self, path: str) -> tuple[int, int] | None:
        """The size and time that an archive had when all its members were seen.

        :param path: the archive
        :return: (bytes, ns), or None where it has not been read to its end
        """
        rows = self.rows("SELECT size, mtime_ns FROM archives WHERE path = ?", (path,))
        return (rows[0][0], rows[0][1]) if rows else None

    def finish_archive(self, path: str, size: int, mtime_ns: int) -> None:
        """Note that all members of an archive have been seen.

        :param path: the archive
        :param size: its bytes
        :param mtime_ns: its time
        """
        with self._transaction():
            self._db.execute("INSERT OR REPLACE INTO archives VALUES (?, ?, ?)", (path, size, mtime_ns))

    def tag(
        self,
        paths: Iterable[str],
        *,
        add: Iterable[str] = (),
        remove: Iterable[str] = (),
        favourite: bool | None = None,
    ) -> list[tuple[str, bool, list[str]]]:
        """Set what the user says of photos. It belongs to the content: copies have it too, and it survives a move.

        :param paths: absolute paths, or folders for all that is below
        :param add: words to add
        :param remove: words to take away; those that the file itself states stay
        :param favourite: whether it is one; None leaves that as it is
        :return: of each photo its path, whether it is a favourite, and all of its words
        :raises InputError: if a path is not in the catalog
        """
        chosen: dict[str, int] = {}
        for path in paths:
            query = f"SELECT path, content FROM photos WHERE content IS NOT NULL AND {_BELOW} ORDER BY path"
            found = {row[0]: row[1] for row in self.rows(query, _below(path))}
            if not found:
                raise InputError(f"{path} is not in the index; add it with: babelclip index {path}")
            chosen.update(found)
        contents = list(dict.fromkeys(chosen.values()))
        with self._transaction():
            for content in contents:
                rows = [(content, word) for word in remove]
                self._db.executemany("DELETE FROM tags WHERE content = ? AND tag = ? AND source = 'user'", rows)
                rows = [(content, word) for word in add]
                self._db.executemany("INSERT OR IGNORE INTO tags VALUES (?, ?, 'user')", rows)
                if favourite is not None:
                    self._db.execute("UPDATE contents SET favourite = ? WHERE id = ?", (int(favourite), content))
        return [(path, *self._said_of(content)) for path, content in chosen.items()]

    def _said_of(self, content: int) -> tuple[bool, list[str]]:
        """Whether a content is a favourite, and its words."""
        words = self.rows("SELECT DISTINCT tag FROM tags WHERE content = ? ORDER BY tag", (content,))
        favourite = self.rows("SELECT favourite FROM contents WHERE id = ?", (content,))
        return bool(favourite and favourite[0][0]), [row[0] for row in words]

    def failures(self) -> list[tuple[str, str]]:
        """The files that have no vector.

        :return: (path, reason), in the order of paths
        """
        return [
            (path, reason)
            for path, reason in self.rows(
                "SELECT path, coalesce(photos.error, contents.error) AS reason FROM photos "
                "LEFT JOIN contents ON contents.id = content WHERE reason IS NOT NULL ORDER BY path"
            )
        ]

    def pictures(self) -> tuple[list[Photo], FloatArray]:
        """The files that are one picture each, so without videos.

        :return: files in the order of paths, and float32 (n, d) vectors, unit rows within the stored form's rounding
        """
        query = (
            "SELECT path, size, mtime_ns, hash, sidecar_ns, vector FROM photos JOIN vectors USING (content) "
            "JOIN contents ON contents.id = content WHERE at_ms IS NULL ORDER BY path"
        )
        photos: list[Photo] = []
        blocks = [np.empty((0, self._dimension), dtype=np.float32)]
        with self._guard():
            cursor = self._db.execute(query)
            while rows := cursor.fetchmany(BLOCK_ROWS):
                photos += [Photo(path, size, mtime, digest, None, xmp) for path, size, mtime, digest, xmp, _ in rows]
                blocks.append(self._floats([row[-1] for row in rows]))
        return photos, np.concatenate(blocks)

    def captures(self) -> dict[bytes, tuple[str | None, str | None]]:
        """When photos were taken and with what camera, as far as their files say so.

        :return: by hash, the time (ISO 8601, the camera's clock) and the camera; None for what is not said
        """
        query = "SELECT hash, taken_at, camera FROM contents WHERE taken_at IS NOT NULL OR camera IS NOT NULL"
        return {digest: (taken_at, camera) for digest, taken_at, camera in self.rows(query)}


_KNOWN = "SELECT path, size, mtime_ns, sidecar_ns, facts FROM photos JOIN contents ON contents.id = content WHERE "
# A path itself, or whatever starts with it and a separator, or is inside it where it is an archive.
_BELOW = "(path = ? OR (path > ? AND path < ?) OR (path > ? AND path < ?))"


def _below(root: str) -> tuple[str, ...]:
    """The parameters of _BELOW."""
    stem = root.rstrip(os.sep)
    # What is in "Wow!/" is not in "Wow", unless that is an archive.
    inside = stem + (INSIDE if archive_of(stem + INSIDE) else os.sep)
    return root, stem + os.sep, stem + chr(ord(os.sep) + 1), inside, inside[:-1] + chr(ord(inside[-1]) + 1)
