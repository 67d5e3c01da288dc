"""Snapshots: an HNSW graph, its vectors and their ids in files beside a catalog.

``photos.bc.neighbours/`` holds one snapshot, a folder that the manifest ``current.json`` names. A new snapshot is
written completely beside the old one before the manifest is replaced, so that a kill at any moment leaves a complete
one.
"""

import hashlib
import json
import secrets
import shutil
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import faiss as typed_faiss
import numpy as np
from numpy.typing import NDArray

from babelclip.ann.exact import Ids, is_among
from babelclip.ann.hnsw import Effort, EffortBands, HnswGraph, NodeMask, Projection
from babelclip.ann.hnsw_memory import index_to_grow, index_to_search
from babelclip.ann.vector_file import VectorFile
from babelclip.errors import CatalogError
from babelclip.vectors import FloatArray

# The stubs describe the C++ classes, not the Python layer above them.
faiss: Any = typed_faiss

FORMAT = 5
MANIFEST = "current.json"
VECTORS = "vectors.npy"
GRAPH, PROJECTION, ROWS, IDS = "index.faiss", "projection.npz", "rows.npy", "ids.npy"

Stamp = tuple[int, int, int]
"""Time of change in nanoseconds, size and inode of a manifest: what tells one from the next without reading it."""


@dataclass(frozen=True, slots=True, kw_only=True)
class SnapshotState:
    """The state of the catalog that a snapshot covers, and how its graph was trained and tuned.

    ``identity`` is the catalog's; ``vector`` and ``removal`` are the last vector id and removal number that the
    snapshot contains; ``recall`` was measured on the tuning queries; ``text_tuned`` is False where these were
    images alone.
    """

    identity: str
    trained_rows: int
    vector: int
    removal: int
    recall: float
    text_tuned: bool


@dataclass(frozen=True, slots=True, kw_only=True)
class Manifest(SnapshotState):
    """The content of ``current.json``."""

    format: int
    name: str
    rows: int
    bands: EffortBands
    checksum: str


class SnapshotFiles:
    """The files of a snapshot, checked; the graph is read only by ``graph_to_search`` and ``graph_to_grow``."""

    def __init__(self, folder: Path, manifest: Manifest) -> None:
        """Open and check the files.

        :param folder: where the manifest is
        :param manifest: what it says
        :raises CatalogError: if a file is missing or damaged
        """
        self.manifest = manifest
        self._place = folder / manifest.name
        try:
            if _checksum(self._place) != manifest.checksum:
                raise CatalogError(f"{self._place} is damaged: its checksum is not that of the manifest")
            self.vectors = VectorFile(self._place / VECTORS)
            self.ids: Ids = np.load(self._place / IDS)
        except (OSError, EOFError, ValueError) as error:
            raise CatalogError(f"{self._place} is damaged: {error}") from None
        if not len(self.vectors) == len(self.ids) == manifest.rows:
            raise CatalogError(f"{self._place} is damaged: its files differ in length")

    def graph_to_search(self) -> HnswGraph:
        """Read the graph for searching; it takes no more rows.

        :return: the graph
        :raises CatalogError: if it cannot be read
        """
        try:
            projection, rows = self._parts()
            index, memory = index_to_search(self._place / GRAPH, len(rows) * projection.matrix.shape[1])
        except (OSError, EOFError, ValueError, KeyError, RuntimeError) as error:
            raise CatalogError(f"{self._place} is damaged: {error}") from None
        return HnswGraph(projection, index, rows, self.manifest.bands, memory)

    def graph_to_grow(self) -> HnswGraph:
        """Read the graph into memory of its own, so that rows can be added.

        :return: the graph
        """
        projection, rows = self._parts()
        return HnswGraph(projection, index_to_grow(self._place / GRAPH), rows, self.manifest.bands)

    def _parts(self) -> tuple[Projection, NDArray[np.int32]]:
        """Read the projection, and the row of each node."""
        parts = np.load(self._place / PROJECTION)
        return Projection(parts["mean"], parts["matrix"]), np.load(self._place / ROWS)


class Snapshot:
    """An open snapshot that is searched; ``removed`` are ids that are in the graph and are not returned."""

    def __init__(self, files: SnapshotFiles) -> None:
        """Read the graph of a snapshot.

        :param files: its files
        :raises CatalogError: if the graph cannot be read
        """
        self.manifest = files.manifest
        self.vectors, self.ids = files.vectors, files.ids
        self.removed: Ids = np.empty(0, np.int64)
        self._mask: NodeMask | None = None
        self._graph = files.graph_to_search()

    def __len__(self) -> int:
        return len(self.ids) - len(self.removed)

    def retune(self, manifest: Manifest) -> None:
        """Take over the effort bands of a manifest of the same snapshot.

        :param manifest: as it is now
        """
        self.manifest = manifest
        self._graph.bands = manifest.bands

    def remove(self, removed: Ids) -> None:
        """Mask ids, so that no search returns them; ids that are not in the snapshot are ignored.

        :param removed: int64, ascending ids
        """
        self.removed = np.union1d(self.removed, removed[is_among(removed, self.ids)])
        if len(self.removed):
            self._mask = self._graph.node_mask(~is_among(self.ids, self.removed))

    def search(self, queries: FloatArray, k: int, *, allowed: Ids | None = None) -> tuple[Ids, FloatArray]:
        """Find the nearest ids.

        :param queries: float32 (m, d), unit rows
        :param k: how many
        :param allowed: int64, ascending ids that may be returned; None for all
        :return: int64 (m, k) ids, nearest first, -1 where there are no more, and float32 (m, k) cosines
        """
        mask = self._mask
        if allowed is not None:
            rows = is_among(self.ids, allowed)
            rows[np.searchsorted(self.ids, self.removed)] = False
            mask = self._graph.node_mask(rows)
        ids = np.full((len(queries), k), -1, dtype=np.int64)
        scores = np.full((len(queries), k), -np.inf, dtype=np.float32)
        for i, query in enumerate(queries):
            nearest, cosines = self._graph.search(query, k, self.vectors, allowed=mask)
            ids[i, : len(nearest)], scores[i, : len(nearest)] = self.ids[nearest], cosines
        return ids, scores


def manifest_stamp(folder: Path) -> Stamp | None:
    """Identify the current manifest without reading it.

    :param folder: the folder of snapshots
    :return: its stamp; None where there is none
    """
    try:
        stat = (folder / MANIFEST).stat()
    except OSError:
        return None
    return stat.st_mtime_ns, stat.st_size, stat.st_ino


def read_manifest(folder: Path, identity: str) -> Manifest | None:
    """Read the current manifest.

    :param folder: the folder of snapshots
    :param identity: of the catalog
    :return: the manifest; None where there is none, or it is damaged, of another catalog or of another format
    """
    try:
        content = json.loads((folder / MANIFEST).read_text(encoding="utf-8"))
        if content["format"] != FORMAT or content["identity"] != identity:
            return None
        borders, efforts = content["bands"]["borders"], content["bands"]["efforts"]
        content["bands"] = EffortBands(tuple(borders), tuple(Effort(**effort) for effort in efforts))
        return Manifest(**content)
    except (OSError, ValueError, TypeError, KeyError):
        return None


def new_place(folder: Path) -> Path:
    """Make an empty folder for a snapshot.

    :param folder: the folder of snapshots
    :return: a folder in it
    """
    place = folder / secrets.token_hex(8)
    place.mkdir(parents=True)
    return place


def write_snapshot(place: Path, graph: HnswGraph, ids: Ids, state: SnapshotState) -> Manifest:
    """Write a snapshot, make it the current one, and delete the others.

    :param place: a folder of ``new_place`` that holds its vectors already
    :param graph: of these vectors
    :param ids: int64 (n,), ascending, of the vectors
    :param state: what the snapshot covers
    :return: its manifest
    """
    np.save(place / IDS, ids)
    np.save(place / ROWS, graph.rows)
    np.savez(place / PROJECTION, mean=graph.projection.mean, matrix=graph.projection.matrix)
    faiss.serialize_index(graph.index).tofile(place / GRAPH)
    manifest = Manifest(
        format=FORMAT,
        name=place.name,
        rows=len(ids),
        bands=graph.bands,
        checksum=_checksum(place),
        **asdict(state),
    )
    write_manifest(place.parent, manifest)
    for other in place.parent.iterdir():
        if other.is_dir() and other != place:
            shutil.rmtree(other, ignore_errors=True)
    return manifest


def write_manifest(folder: Path, manifest: Manifest) -> None:
    """Replace the current manifest.

    :param folder: the folder of snapshots
    :param manifest: of a snapshot that is there completely
    """
    draft = folder / manifest.name / MANIFEST
    draft.write_text(json.dumps(asdict(manifest), indent=1), encoding="utf-8")
    draft.replace(folder / MANIFEST)


def _checksum(place: Path) -> str:
    """Compute sha256 over the files but the vectors, which are as large as the collection and are spot-checked."""
    digest = hashlib.sha256()
    for name in (GRAPH, PROJECTION, ROWS, IDS):
        with (place / name).open("rb") as file:
            digest.update(hashlib.file_digest(file, "sha256").digest())
    return digest.hexdigest()
