"""Files beside a catalog: a graph of its vectors, the vectors and their ids.

``photos.bc.neighbours/`` holds one generation of files, named by ``current.json``. A new generation is written whole
beside the old one and then named, so that a kill at any moment leaves one that is whole.
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
from babelclip.ann.hnsw import Effort, Efforts, Nodes, Projection, ProximityGraph
from babelclip.ann.hnsw_memory import index_to_grow, index_to_search
from babelclip.ann.vector_file import VectorFile
from babelclip.errors import CatalogError
from babelclip.vectors import FloatArray

# Its stubs tell of C++, not of the Python layer above it.
faiss: Any = typed_faiss

FORMAT = 4
NAMED = "current.json"
VECTORS = "vectors.npy"
GRAPH, PROJECTION, ROWS, IDS = "index.faiss", "projection.npz", "rows.npy", "ids.npy"


@dataclass(frozen=True, slots=True)
class Reach:
    """Of which catalog the files are, how far they reach (its last vector and removal), and how they were trained."""

    identity: str
    trained_rows: int
    vector: int
    removal: int
    recall: float


@dataclass(frozen=True, slots=True, kw_only=True)
class Generation(Reach):
    """What ``current.json`` says."""

    format: int
    name: str
    rows: int
    efforts: Efforts
    checksum: str


class NeighbourFiles:
    """A generation of files that is open; ``gone`` are ids that no search finds any more."""

    def __init__(self, folder: Path, generation: Generation) -> None:
        """Open a generation.

        :param folder: where ``current.json`` is
        :param generation: what it says
        :raises CatalogError: if a file is missing or damaged
        """
        self.generation = generation
        self.gone: Ids = np.empty(0, np.int64)
        self._left: Nodes | None = None
        self._place = folder / generation.name
        try:
            if _checksum(self._place) != generation.checksum:
                raise CatalogError(f"{self._place} is damaged")
            self.graph = self._graph_to_search()
            self.vectors = VectorFile(self._place / VECTORS)
            self.ids: Ids = np.load(self._place / IDS)
        except (OSError, EOFError, ValueError, KeyError, RuntimeError) as error:
            raise CatalogError(f"{self._place} is damaged: {error}") from None
        if not len(self.vectors) == len(self.ids) == len(self.graph) == generation.rows:
            raise CatalogError(f"{self._place} is damaged: its files do not belong together")

    @classmethod
    def current(cls, folder: Path, identity: str) -> "NeighbourFiles | None":
        """The generation that is there.

        :param folder: where ``current.json`` is
        :param identity: of the catalog
        :return: it; None if there is none of this catalog, or it is damaged
        """
        try:
            told = json.loads((folder / NAMED).read_text(encoding="utf-8"))
            if told["format"] != FORMAT or told["identity"] != identity:
                return None
            borders, steps = told["efforts"]["borders"], told["efforts"]["steps"]
            told["efforts"] = Efforts(tuple(borders), tuple(Effort(**step) for step in steps))
            return cls(folder, Generation(**told))
        except (OSError, ValueError, TypeError, KeyError, CatalogError):
            return None

    @classmethod
    def written(cls, place: Path, graph: ProximityGraph, ids: Ids, reach: Reach) -> "NeighbourFiles":
        """Write a generation down, name it, open it, and delete the one before.

        :param place: a folder of ``new_place`` with its vectors in it
        :param graph: of them
        :param ids: int64 (n,), growing, of the vectors
        :param reach: what is to be said of it
        :return: the files
        """
        np.save(place / IDS, ids)
        np.save(place / ROWS, graph.rows)
        np.savez(place / PROJECTION, mean=graph.projection.mean, matrix=graph.projection.matrix)
        faiss.serialize_index(graph.index).tofile(place / GRAPH)
        generation = Generation(
            format=FORMAT,
            name=place.name,
            rows=len(ids),
            efforts=graph.efforts,
            checksum=_checksum(place),
            **asdict(reach),
        )
        named = place / NAMED
        named.write_text(json.dumps(asdict(generation), indent=1), encoding="utf-8")
        named.replace(place.parent / NAMED)
        files = cls(place.parent, generation)
        for other in place.parent.iterdir():
            if other.is_dir() and other != place:
                shutil.rmtree(other, ignore_errors=True)
        return files

    def _graph_to_search(self) -> ProximityGraph:
        projection, rows = self._parts()
        code_bytes = len(rows) * projection.matrix.shape[1]
        index, memory = index_to_search(self._place / GRAPH, code_bytes)
        return ProximityGraph(projection, index, rows, self.generation.efforts, memory)

    def graph_to_grow(self) -> ProximityGraph:
        """The graph once more, to take rows in.

        :return: a graph with memory of its own
        """
        projection, rows = self._parts()
        return ProximityGraph(projection, index_to_grow(self._place / GRAPH), rows, self.generation.efforts)

    def _parts(self) -> tuple[Projection, NDArray[np.int32]]:
        """What a graph has beside its index."""
        parts = np.load(self._place / PROJECTION)
        return Projection(parts["mean"], parts["matrix"]), np.load(self._place / ROWS)

    def leave_out(self, removed: Ids) -> None:
        """Let no search find some ids any more; what is not in the files is passed over.

        :param removed: int64, growing ids
        """
        self.gone = np.union1d(self.gone, removed[is_among(removed, self.ids)])
        if len(self.gone):
            self._left = self.graph.nodes(~is_among(self.ids, self.gone))

    def search(self, queries: FloatArray, k: int, *, allowed: Ids | None = None) -> tuple[Ids, FloatArray]:
        """Ids and cosines, nearest first.

        :param queries: float32 (m, d), unit rows
        :param k: how many
        :param allowed: int64, growing ids that may be found; None for all
        :return: int64 (m, k) ids, -1 where there is none, and float32 (m, k) cosines
        """
        nodes = self._left
        if allowed is not None:
            rows = is_among(self.ids, allowed)
            rows[np.searchsorted(self.ids, self.gone)] = False
            nodes = self.graph.nodes(rows)
        ids = np.full((len(queries), k), -1, dtype=np.int64)
        scores = np.full((len(queries), k), -np.inf, dtype=np.float32)
        for i, query in enumerate(queries):
            found, cosines = self.graph.search(query, k, self.vectors, allowed=nodes)
            ids[i, : len(found)], scores[i, : len(found)] = self.ids[found], cosines
        return ids, scores


def new_place(folder: Path) -> Path:
    """An empty folder for a generation.

    :param folder: where ``current.json`` is or will be
    :return: a folder in it
    """
    place = folder / secrets.token_hex(8)
    place.mkdir(parents=True)
    return place


def _checksum(place: Path) -> str:
    """Of the files of a generation but its vectors, which are as large as the collection and spot-checked."""
    found = hashlib.sha256()
    for name in (GRAPH, PROJECTION, ROWS, IDS):
        with (place / name).open("rb") as file:
            found.update(hashlib.file_digest(file, "sha256").digest())
    return found.hexdigest()
