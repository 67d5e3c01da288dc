"""Reader of the photos of a catalog: the state of files, their contents, and what could not be read."""

import os
from collections.abc import Iterable

from babelclip.catalog.connection import Connection
from babelclip.catalog.records import FileState
from babelclip.media.archives import MEMBER_SEPARATOR, archive_of

BELOW = "(path = ? OR (path > ? AND path < ?) OR (path > ? AND path < ?))"
"""SQL condition: the path itself, or whatever starts with it and a separator, or a member of it if it is an archive."""
_STATES = "SELECT path, size, mtime_ns, sidecar_ns, facts FROM photos JOIN contents ON contents.id = content WHERE "


def below(root: str) -> tuple[str, ...]:
    """Compute the parameters of BELOW.

    :param root: an absolute path
    :return: five values
    """
    stem = root.rstrip(os.sep)
    # The files of the folder "Wow!" are not below "Wow", unless that is an archive.
    inside = stem + (MEMBER_SEPARATOR if archive_of(stem + MEMBER_SEPARATOR) else os.sep)
    return root, stem + os.sep, stem + chr(ord(os.sep) + 1), inside, inside[:-1] + chr(ord(inside[-1]) + 1)


class PhotoReader:
    """Reads the photos of an open catalog; ``catalog.Catalog`` writes them."""

    def __init__(self, connection: Connection) -> None:
        """Take an open connection.

        :param connection: the connection; its owner closes it
        """
        self._connection = connection

    def hashes_of(self, paths: Iterable[str]) -> dict[str, bytes]:
        """Look up the contents of photos.

        :param paths: absolute paths; paths that are not in the catalog are left out
        :return: sha256 by path
        """
        query = "SELECT hash FROM photos JOIN contents ON contents.id = content WHERE path = ?"
        rows_by_path = {path: self._connection.rows(query, (path,)) for path in paths}
        return {path: rows[0][0] for path, rows in rows_by_path.items() if rows}

    def files_of(self, digest: bytes) -> list[str]:
        """Look up the photos that have a content.

        :param digest: sha256 of the content
        :return: their paths, in order
        """
        query = "SELECT path FROM photos JOIN contents ON contents.id = content WHERE hash = ? ORDER BY path"
        return [path for (path,) in self._connection.rows(query, (digest,))]

    def states_below(self, root: str) -> dict[str, FileState]:
        """Read the states of the files at or below a path whose content is encoded or known to be unreadable.

        :param root: an absolute path
        :return: states by path
        """
        return {path: FileState(*state) for path, *state in self._connection.rows(_STATES + BELOW, below(root))}

    def states_in(self, folder: str) -> dict[str, FileState]:
        """Read the states of the files in one folder, as ``states_below``.

        :param folder: an absolute path
        :return: states by path
        """
        return {path: FileState(*state) for path, *state in self._connection.rows(_STATES + "folder = ?", (folder,))}

    def paths_below(self, root: str) -> list[str]:
        """List all photos at or below a path, members of archives among them.

        :param root: an absolute path
        :return: absolute paths
        """
        return [row[0] for row in self._connection.rows(f"SELECT path FROM photos WHERE {BELOW}", below(root))]

    def paths_in(self, folder: str) -> list[str]:
        """List all photos in one folder.

        :param folder: an absolute path
        :return: absolute paths
        """
        return [row[0] for row in self._connection.rows("SELECT path FROM photos WHERE folder = ?", (folder,))]

    def folders_below(self, root: str) -> list[str]:
        """List the folders at or below a path that have photos, folders in archives among them.

        :param root: an absolute path
        :return: absolute paths
        """
        query = "SELECT DISTINCT folder FROM photos WHERE " + BELOW.replace("path", "folder")
        return [row[0] for row in self._connection.rows(query, below(root))]

    def has_content(self, digest: bytes) -> bool:
        """Check whether a content has been encoded or found unreadable.

        :param digest: its sha256
        :return: whether the catalog has it
        """
        return bool(self._connection.rows("SELECT 1 FROM contents WHERE hash = ?", (digest,)))

    def error_of(self, digest: bytes) -> str | None:
        """Read the error of a content.

        :param digest: its sha256
        :return: the error; None if the content has vectors, or is not in the catalog
        """
        rows = self._connection.rows("SELECT error FROM contents WHERE hash = ?", (digest,))
        return rows[0][0] if rows else None

    def finished_archive(self, path: str) -> tuple[int, int] | None:
        """Read the size and time of change that an archive had when all its members were processed.

        :param path: the archive
        :return: (bytes, ns), or None if it was never processed completely
        """
        rows = self._connection.rows("SELECT size, mtime_ns FROM archives WHERE path = ?", (path,))
        return (rows[0][0], rows[0][1]) if rows else None

    def failures(self) -> list[tuple[str, str]]:
        """List the photos that have no vector.

        :return: (path, reason), in the order of paths
        """
        return [
            (path, reason)
            for path, reason in self._connection.rows(
                "SELECT path, coalesce(photos.error, contents.error) AS reason FROM photos "
                "LEFT JOIN contents ON contents.id = content WHERE reason IS NOT NULL ORDER BY path"
            )
        ]

    def captures(self) -> dict[bytes, tuple[str | None, str | None]]:
        """Read when and with which camera photos were taken, as far as their metadata says so.

        :return: time (ISO 8601, the camera's clock) and camera by sha256; None for what is not known
        """
        query = "SELECT hash, taken_at, camera FROM contents WHERE taken_at IS NOT NULL OR camera IS NOT NULL"
        return {digest: (taken_at, camera) for digest, taken_at, camera in self._connection.rows(query)}
