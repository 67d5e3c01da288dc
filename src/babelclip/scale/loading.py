"""Loading a folder of vectors into a store."""

import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from functools import partial
from typing import Any

from babelclip.errors import CatalogError, InputError
from babelclip.media.metadata import Metadata
from babelclip.scale.vector_files import FACTS, VectorFolder, vectors_of
from babelclip.stores import ModelIdentity, StoreProgress, StoreRecord, open_store
from babelclip.vectors import FloatArray


@dataclass(slots=True)
class LoadReport:
    """The loaded files of vectors and rows, and the seconds."""

    files: int = 0
    rows: int = 0
    seconds: float = 0.0


def load_all(
    source: str,
    store: str,
    *,
    show: Callable[[LoadReport, int], None] | None = None,
    queries: Callable[[ModelIdentity], Sequence[FloatArray]] = lambda model: (),
    progress: StoreProgress | None = None,
) -> LoadReport:
    """Load a folder of vectors into a store, and build the graph that it needs.

    A row's path is its key, so that loading again changes nothing.

    :param source: the folder, a path or URL
    :param store: an index file or a Milvus address
    :param show: is told how far it is, and how many files there are
    :param queries: gives tuning queries of a model for the graph, float32 (m, d) unit rows of each kind of text;
        without any, the graph is tuned for texts when it is next maintained by a process that has the model
    :param progress: gets the number of vectors in the graph, and of all, while it is built
    :return: what was loaded
    :raises InputError: if there are no vectors
    :raises CatalogError: if one of the two cannot be used
    :raises ModelMismatchError: if the store is of another model
    """
    folder = VectorFolder(source)
    manifest = folder.manifest()
    files = folder.shards()
    if manifest is None or not files:
        raise InputError(f"{source} holds no vectors of babelclip scale embed")
    report, started = LoadReport(), time.monotonic()
    model = ModelIdentity(manifest.model, manifest.fingerprint, manifest.dimension)
    opened = open_store(store, model)
    try:
        for path in files:
            for batch in folder.batches(path):
                made_by = (batch.schema.metadata or {}).get(b"babelclip.fingerprint", b"").decode()
                if made_by not in ("", manifest.fingerprint):
                    raise CatalogError(f"{folder.location.name(path)} is of another model than its folder")
                entries = list(entries_of(batch))
                opened.add(entries)
                report.rows += len(entries)
                report.seconds = time.monotonic() - started
                if show is not None:
                    show(report, len(files))
            report.files += 1
        opened.maintain(partial(queries, model), progress)
    finally:
        opened.close()
    return report


def entries_of(batch: Any) -> Iterator[StoreRecord]:
    """The rows of an Arrow record batch as a store takes them.

    :param batch: rows of a file of vectors
    :yield: an entry a row
    """
    vectors = vectors_of(batch)
    columns = ("path", "hash", "size", "mtime_ns", *FACTS)
    for vector, row in zip(vectors, batch.select(columns).to_pylist(), strict=True):
        facts = {name: row[name] for name in FACTS}
        facts["keywords"] = tuple(facts["keywords"])
        yield StoreRecord(row["path"], row["hash"], vector, row["size"], row["mtime_ns"] or 0, Metadata(**facts))
