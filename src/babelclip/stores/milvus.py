"""Milvus: a server or a cluster by its address, or Milvus Lite on a file, which runs inside this process.

A row is a photo. The metadata that filters compare is in columns of its own, in a form that Milvus can compare: text
in lower case, orientation and number of pixels as values, and an empty text or -1 for what is not known.
docs/reference/stored-formats.md has the columns.
"""

import hashlib
import logging
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from urllib.parse import parse_qs, unquote, urlsplit

import numpy as np

from babelclip.errors import CatalogError, InputError, ModelMismatchError
from babelclip.extras import importing
from babelclip.pipeline import chunks
from babelclip.query.filters import read_filter
from babelclip.stores.base import Match, ModelIdentity, QuerySource, StoreProgress, StoreRecord, no_queries
from babelclip.stores.milvus_filters import compile_filter, quoted
from babelclip.text.normalize import normalize_text
from babelclip.vectors import FloatArray, unit_rows

with importing("scale"):
    from pymilvus import DataType, MilvusClient
    from pymilvus.exceptions import MilvusException

FORMAT = 1
COLLECTION = "photos"
MAX_WINDOW = 16384
"""The largest sum of k and offset that Milvus accepts."""
MAX_PATH_BYTES = 8192
MAX_TEXT_BYTES = 16384
MAX_TAG_BYTES = 512
MAX_TAGS = 512
WRITE_ROWS = 1000
"""A message of 1,000 rows of 512 numbers has 2 MB; the limit of a server is 64 MB."""
KEYS_PER_REQUEST = 500
SAMPLE_PARTS = 8
ID_BITS = 63


@dataclass(frozen=True, slots=True)
class Address:
    """The address of a collection: the arguments of Milvus' client, and the name of the collection."""

    uri: str
    collection: str
    token: str
    local: bool


def read_address(name: str) -> Address:
    """Parse the address of a collection.

    :param name: milvus://[USER:PASSWORD@]HOST[:PORT][/COLLECTION][?tls=1] or milvus:///PATH/FILE.db[?collection=NAME]
    :return: the address
    :raises InputError: if it is neither
    """
    parts = urlsplit(name)
    options = {key: values[-1] for key, values in parse_qs(parts.query).items()}
    unknown = options.keys() - {"tls", "collection"}
    if unknown:
        raise InputError(f"a Milvus address has the options tls and collection, not {', '.join(sorted(unknown))}")
    if not parts.hostname:
        path = unquote(parts.path)
        if not path.endswith(".db"):
            raise InputError(f"{name}: a file of Milvus Lite ends in .db; a server is milvus://HOST:PORT/COLLECTION")
        return Address(path, options.get("collection", COLLECTION), "", local=True)
    collection = options.get("collection") or parts.path.strip("/") or COLLECTION
    scheme = "https" if options.get("tls", "0") not in ("0", "no", "false") else "http"
    token = f"{unquote(parts.username)}:{unquote(parts.password or '')}" if parts.username else ""
    return Address(f"{scheme}://{parts.hostname}:{parts.port or 19530}", collection, token, local=False)


class MilvusStore:
    """A collection of Milvus."""

    def __init__(self, name: str, model: ModelIdentity, *, create: bool) -> None:
        """Open a collection, or create one.

        :param name: its address, as ``read_address`` parses it
        :param model: the model of its vectors
        :param create: create it if it is not there; else that is an error
        :raises InputError: if it is not there and ``create`` is False
        :raises CatalogError: if the server cannot be reached, or the collection is not one of babelclip
        :raises ModelMismatchError: if another model made it
        """
        self._address = read_address(name)
        location = f"{self._address.uri} named {self._address.collection}"
        missing = f"there is no collection at {location}; babelclip scale load fills one"
        if not create and self._address.local and not Path(self._address.uri).exists():
            raise InputError(missing)
        # Their errors are raised too; and Milvus Lite logs requests at its start that it does not implement.
        for logger in ("pymilvus", "grpc._server"):
            logging.getLogger(logger).setLevel(logging.CRITICAL)
        with self._guard():
            if self._address.local:
                Path(self._address.uri).parent.mkdir(parents=True, exist_ok=True)
            self._client = MilvusClient(self._address.uri, token=self._address.token)
            exists = self._client.has_collection(self._address.collection)
        if not exists and not create:
            self.close()
            raise InputError(missing)
        with self._guard():
            if not exists:
                self._create(model)
            stated = self._client.describe_collection(self._address.collection).get("properties", {})
        self._check(stated, model)
        self._dimension = model.dimension
        with self._guard():
            self._client.load_collection(self._address.collection)

    @contextmanager
    def _guard(self) -> Iterator[None]:
        """Convert the client's errors to a CatalogError that names the server or file."""
        try:
            yield
        except (MilvusException, OSError, ValueError) as error:
            message = getattr(error, "message", "") or str(error)
            hint = " Another program has it open." if self._address.local and "lock" in message.lower() else ""
            raise CatalogError(f"Milvus at {self._address.uri}: {message}.{hint}") from None

    def _create(self, model: ModelIdentity) -> None:
        """Create the collection and its index."""
        schema = self._client.create_schema(auto_id=False, enable_dynamic_field=False)
        schema.add_field("id", DataType.INT64, is_primary=True)
        schema.add_field("vector", DataType.FLOAT_VECTOR, dim=model.dimension)
        for column in ("path", "name", "folder"):
            schema.add_field(column, DataType.VARCHAR, max_length=MAX_PATH_BYTES)
        for column in ("camera", "caption"):
            schema.add_field(column, DataType.VARCHAR, max_length=MAX_TEXT_BYTES)
        for column in ("hash", "taken_at", "orientation", "kind"):
            schema.add_field(column, DataType.VARCHAR, max_length=64)
        for column in ("size", "mtime_ns", "width", "height", "pixels", "at_ms"):
            schema.add_field(column, DataType.INT64)
        for column in ("favourite", "placed"):
            schema.add_field(column, DataType.BOOL)
        schema.add_field(
            "tags",
            DataType.ARRAY,
            element_type=DataType.VARCHAR,
            max_capacity=MAX_TAGS,
            max_length=MAX_TAG_BYTES,
        )
        index = self._client.prepare_index_params()
        index.add_index(field_name="vector", index_type="AUTOINDEX", metric_type="COSINE")
        self._client.create_collection(
            self._address.collection,
            schema=schema,
            index_params=index,
            consistency_level="Session",
            properties={
                "babelclip.format": str(FORMAT),
                "babelclip.model": model.name,
                "babelclip.fingerprint": model.fingerprint,
            },
        )

    def _check(self, stated: dict[str, str], model: ModelIdentity) -> None:
        """Refuse a collection of another program, version or model."""
        where = f"collection {self._address.collection} at {self._address.uri}"
        if "babelclip.format" not in stated:
            raise CatalogError(f"{where} is not one of babelclip; give another name")
        if int(stated["babelclip.format"]) > FORMAT:
            raise CatalogError(f"{where} was made by a newer babelclip; update to use it")
        if stated["babelclip.fingerprint"] != model.fingerprint:
            other, fingerprint = stated["babelclip.model"], stated["babelclip.fingerprint"]
            raise ModelMismatchError(
                f"{where} was made by model {other} ({fingerprint[:12]}), not by {model.name} "
                f"({model.fingerprint[:12]}). Use that model (--model), or give a new name"
            )

    def __len__(self) -> int:
        with self._guard():
            rows = self._client.query(self._address.collection, filter="", output_fields=["count(*)"])
        return int(rows[0]["count(*)"])

    def failures(self) -> list[tuple[str, str]]:
        """List nothing: a collection holds only photos that could be read."""
        return []

    def add(self, records: Sequence[StoreRecord]) -> None:
        """Add as Store.add."""
        for some in chunks(records, WRITE_ROWS):
            with self._guard():
                self._client.upsert(self._address.collection, [_row(record) for record in some])

    def delete(self, paths: Iterable[str]) -> None:
        """Delete as Store.delete."""
        for some in chunks(paths, KEYS_PER_REQUEST):
            names = ", ".join(quoted(path) for path in some)
            with self._guard():
                self._client.delete(self._address.collection, filter=f"path in [{names}]")

    def refresh(self) -> object:
        """Refresh as Store.refresh: the server is always current; the number of rows stands for its state."""
        return len(self)

    def maintain(self, queries: QuerySource = no_queries, progress: StoreProgress | None = None) -> bool:
        """Maintain nothing: Milvus builds its index itself."""
        return False

    def find(self, vector: FloatArray, count: int, *, where: str | None = None) -> list[Match]:
        """Find as Store.find; at most MAX_WINDOW."""
        condition = "" if where is None else compile_filter(read_filter(where))
        (hits,) = self._search(vector[None], min(count, MAX_WINDOW), condition, ["path", "at_ms"])
        best: dict[str, Match] = {}
        for match in sorted(map(_match, hits), key=lambda match: (-match.score, match.path)):
            best.setdefault(match.path, match)
        return list(best.values())

    def nearest(self, vectors: FloatArray, count: int) -> tuple[FloatArray, FloatArray]:
        """Find as Store.nearest."""
        queries, dimension = vectors.shape
        scores, rows = np.zeros((queries, count), np.float32), np.zeros((queries, count, dimension), np.float32)
        for i, hits in enumerate(self._search(vectors, count, "", ["vector"])):
            for j, hit in enumerate(hits):
                scores[i, j], rows[i, j] = hit["distance"], hit["entity"]["vector"]
        return scores, rows

    def _search(self, vectors: FloatArray, count: int, condition: str, columns: list[str]) -> list[Any]:
        """Search for every vector."""
        with self._guard():
            return list(
                self._client.search(
                    self._address.collection,
                    list(vectors.astype(np.float32)),
                    filter=condition,
                    limit=count,
                    output_fields=columns,
                    search_params={"metric_type": "COSINE"},
                )
            )

    def vectors_of(self, ids: Sequence[int]) -> FloatArray:
        """Look up as Store.vectors_of."""
        vectors: dict[int, list[float]] = {}
        for some in chunks(dict.fromkeys(ids), KEYS_PER_REQUEST):
            with self._guard():
                rows = self._client.get(self._address.collection, ids=some, output_fields=["vector"])
            vectors.update((row["id"], row["vector"]) for row in rows)
        zeros = [0.0] * self._dimension
        return np.array([vectors.get(number, zeros) for number in ids], dtype=np.float32).reshape(-1, self._dimension)

    def sample(self, size: int) -> FloatArray:
        """Draw as Store.sample: ids are hashes, so that the rows from any id on are a random sample."""
        starts = np.random.default_rng(0).integers(0, 2**ID_BITS - 1, SAMPLE_PARTS).tolist() if len(self) > size else []
        drawn: dict[int, list[float]] = {}
        # The last part, from the lowest id on, adds what is missing where the others overlap or reach the end.
        for start, limit in [*((start, -(-size // SAMPLE_PARTS)) for start in starts), (0, size)]:
            if len(drawn) < size:
                with self._guard():
                    rows = self._client.query(
                        self._address.collection,
                        filter=f"id >= {start}",
                        limit=min(limit + (len(drawn) if start == 0 else 0), MAX_WINDOW),
                        output_fields=["vector"],
                    )
                drawn.update((row["id"], row["vector"]) for row in rows)
        vectors = np.array(list(drawn.values())[:size], dtype=np.float32).reshape(-1, self._dimension)
        return unit_rows(vectors)

    def close(self) -> None:
        """Close as Store.close; another process can then open a file of Milvus Lite."""
        self._client.close()
        if self._address.local:
            from milvus_lite.server_manager import server_manager_instance

            server_manager_instance.release_server(self._address.uri)


def row_id(path: str, at_ms: int | None = None) -> int:
    """Compute the id of a row from its photo, so that loading twice adds nothing.

    :param path: the photo's path
    :param at_ms: the time in a video
    :return: 63 bits of a hash
    """
    digest = hashlib.blake2b(f"{path}\0{'' if at_ms is None else at_ms}".encode(), digest_size=8).digest()
    return int.from_bytes(digest, "big") >> (64 - ID_BITS)


def _row(record: StoreRecord) -> dict[str, Any]:
    """Convert a record to a row."""
    facts = record.facts
    width, height = facts.width or -1, facts.height or -1
    known = width > 0 and height > 0
    folder = record.path.rpartition("/")[0] + "/"
    return {
        "id": row_id(record.path),
        "vector": record.vector.astype(np.float32),
        "path": record.path,
        "name": _lower(record.path, MAX_PATH_BYTES),
        "folder": _lower(folder, MAX_PATH_BYTES),
        "camera": _lower(facts.camera or "", MAX_TEXT_BYTES),
        "caption": _lower(facts.caption or "", MAX_TEXT_BYTES),
        "hash": record.hash.hex(),
        "taken_at": facts.taken_at or "",
        "orientation": ("square" if width == height else "landscape" if width > height else "portrait")
        if known
        else "",
        "kind": facts.kind,
        "size": record.size,
        "mtime_ns": record.mtime_ns,
        "width": width,
        "height": height,
        "pixels": width * height if known else -1,
        "at_ms": -1,
        "favourite": False,
        "placed": facts.latitude is not None,
        "tags": [_lower(word, MAX_TAG_BYTES) for word in facts.keywords[:MAX_TAGS]],
    }


def _lower(text: str, max_bytes: int) -> str:
    """Normalize a text as filters compare it, and cut it to the length of its column."""
    return normalize_text(text).encode()[:max_bytes].decode("utf-8", "ignore")


def _match(hit: Any) -> Match:
    """Convert a hit of Milvus to a match."""
    at_ms = int(hit["entity"]["at_ms"])
    return Match(int(hit["id"]), hit["entity"]["path"], float(hit["distance"]), None if at_ms < 0 else at_ms)
