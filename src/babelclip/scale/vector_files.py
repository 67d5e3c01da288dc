"""Parquet files of vectors, version 1, which a bulk run writes and ``scale load`` reads.

docs/reference/stored-formats.md describes the columns.

DEST/manifest.json         who made it: format, model, fingerprint, dimension, numbers, source, kind
DEST/plan.parquet          shard, file: which file is in which shard; a later run only adds to it
DEST/vectors/000000.parquet  a shard's rows; the shard is finished when it is there
DEST/errors/000000.parquet   path, reason: what of the shard has no vector; written before its vectors
"""

import json
from collections.abc import Iterator, Sequence
from dataclasses import asdict, dataclass
from typing import Any, Literal

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
from numpy.typing import NDArray

from babelclip.errors import CatalogError, ModelMismatchError
from babelclip.media.metadata import NO_METADATA, Metadata
from babelclip.scale.places import PARTIAL, Place, open_place
from babelclip.vectors import FloatArray

FORMAT = 1
ROW_GROUP = 4096
FACTS = ("width", "height", "taken_at", "latitude", "longitude", "camera", "caption", "keywords")
"""The columns that are fields of Metadata."""
PARQUET = frozenset((".parquet",))

Numbers = Literal["float16", "float32"]


@dataclass(frozen=True, slots=True)
class Manifest:
    """Who made a folder of vectors, of what, and how its numbers are stored."""

    model: str
    fingerprint: str
    dimension: int
    numbers: Numbers
    source: str
    kind: str
    format: int = FORMAT


@dataclass(frozen=True, slots=True)
class Row:
    """A picture and its vector. ``metadata`` is a JSON object as text; None where nothing is known."""

    path: str
    hash: bytes
    vector: FloatArray
    size: int
    mtime_ns: int | None = None
    facts: Metadata = NO_METADATA
    metadata: str | None = None


def row_schema(manifest: Manifest) -> Any:
    """The columns of a file of vectors.

    :param manifest: who makes it; is written into the file too
    :return: an Arrow schema
    """
    number = pa.float16() if manifest.numbers == "float16" else pa.float32()
    stated = {f"babelclip.{key}": str(value) for key, value in asdict(manifest).items()}
    return pa.schema(
        [
            pa.field("path", pa.string(), nullable=False),
            pa.field("hash", pa.binary(32), nullable=False),
            pa.field("vector", pa.list_(number, manifest.dimension), nullable=False),
            pa.field("size", pa.int64(), nullable=False),
            pa.field("mtime_ns", pa.int64()),
            pa.field("width", pa.int32()),
            pa.field("height", pa.int32()),
            pa.field("taken_at", pa.string()),
            pa.field("latitude", pa.float64()),
            pa.field("longitude", pa.float64()),
            pa.field("camera", pa.string()),
            pa.field("caption", pa.string()),
            pa.field("keywords", pa.list_(pa.string()), nullable=False),
            pa.field("metadata", pa.string()),
        ],
        metadata=stated,
    )


ERROR_SCHEMA = pa.schema(
    [pa.field("path", pa.string(), nullable=False), pa.field("reason", pa.string(), nullable=False)]
)
PLAN_SCHEMA = pa.schema([pa.field("shard", pa.int32(), nullable=False), pa.field("file", pa.string(), nullable=False)])


def table_of(rows: Sequence[Row], manifest: Manifest) -> Any:
    """Rows as an Arrow table.

    :param rows: pictures, each vector float32 (dimension,)
    :param manifest: who makes them
    :return: the table
    """
    schema = row_schema(manifest)
    vectors = np.stack([row.vector for row in rows]) if rows else np.empty((0, manifest.dimension), np.float32)
    flat = pa.array(vectors.astype(manifest.numbers).reshape(-1))
    columns = [
        pa.FixedSizeListArray.from_arrays(flat, manifest.dimension)
        if field.name == "vector"
        else pa.array([getattr(row.facts if field.name in FACTS else row, field.name) for row in rows], field.type)
        for field in schema
    ]
    return pa.Table.from_arrays(columns, schema=schema)


class VectorFolder:
    """A folder of vectors, here or in an object store."""

    def __init__(self, name: str) -> None:
        """Name it; nothing is read or made.

        :param name: a path or URL
        """
        self.name = name
        self.place: Place = open_place(name)

    def manifest(self) -> Manifest | None:
        """Who made it.

        :return: its manifest, or None where there is none yet
        :raises CatalogError: if there is one that cannot be used
        """
        path = self.place.inner("manifest.json")
        if not self.place.exists(path):
            return None
        try:
            with self.place.filesystem.open_input_stream(path) as stream:
                found = json.loads(stream.read())
            if int(found["format"]) > FORMAT:
                raise CatalogError(f"{self.name} was made by a newer babelclip; update to read it")
            return Manifest(**found)
        except (ValueError, TypeError, KeyError) as error:
            raise CatalogError(f"{self.place.name(path)} is damaged: {error}") from None

    def claim(self, wanted: Manifest) -> None:
        """Write the manifest of a new folder; refuse one that something else made.

        :param wanted: who is going to write
        :raises ModelMismatchError: if another model made it
        :raises CatalogError: if its source, or the form of its numbers, is another
        """
        found = self.manifest()
        if found is None:
            if self.place.files(PARQUET):
                raise CatalogError(f"{self.name} holds Parquet files but no manifest; give a new folder")
            content = json.dumps(asdict(wanted), indent=1, ensure_ascii=False) + "\n"
            with self.place.written(self.place.inner("manifest.json")) as stream:
                stream.write(content.encode())
            return
        if found.fingerprint != wanted.fingerprint:
            raise ModelMismatchError(
                f"{self.name} was made by model {found.model} ({found.fingerprint[:12]}), not by {wanted.model} "
                f"({wanted.fingerprint[:12]}). Use that model (--model), or give a new folder"
            )
        for key in ("source", "kind", "numbers"):
            if getattr(found, key) != getattr(wanted, key):
                raise CatalogError(
                    f"{self.name} was begun with {key} {getattr(found, key)}, not {getattr(wanted, key)}; "
                    "give the same, or a new folder"
                )

    def read_plan(self) -> list[list[str]]:
        """The files of every shard.

        :return: names, by shard; empty where there is no plan yet
        """
        path = self.place.inner("plan.parquet")
        if not self.place.exists(path):
            return []
        with self.place.filesystem.open_input_file(path) as stream:
            table = pq.read_table(stream)
        shards: list[list[str]] = []
        for number, file in zip(table["shard"].to_pylist(), table["file"].to_pylist(), strict=True):
            while len(shards) <= number:
                shards.append([])
            shards[number].append(file)
        return shards

    def write_plan(self, shards: Sequence[Sequence[str]]) -> None:
        """Write which file is in which shard.

        :param shards: names, by shard
        """
        numbers = [number for number, files in enumerate(shards) for _ in files]
        names = [file for files in shards for file in files]
        table = pa.table({"shard": numbers, "file": names}, schema=PLAN_SCHEMA)
        with self.place.written(self.place.inner("plan.parquet")) as stream:
            pq.write_table(table, stream)

    def finished(self) -> set[int]:
        """The shards that need not be done again.

        :return: their numbers
        """
        names = [file.path.rpartition("/")[2] for file in self.place.files(PARQUET, below="vectors")]
        return {int(name.removesuffix(".parquet")) for name in names}

    def tidy(self) -> None:
        """Remove what killed workers left half written; nobody may be writing."""
        for table in ("vectors", "errors"):
            for file in self.place.files(frozenset((PARTIAL,)), below=table):
                self.place.filesystem.delete_file(file.path)

    def shard_path(self, table: Literal["vectors", "errors"], shard: int) -> str:
        """Where a shard's rows are.

        :param table: which of its two files
        :param shard: its number
        :return: a path in the file system
        """
        return self.place.inner(table, f"{shard:06d}.parquet")

    def shards(self) -> list[str]:
        """The files of vectors, in order.

        :return: paths in the file system
        """
        return [file.path for file in self.place.files(PARQUET, below="vectors")]

    def batches(self, path: str, columns: Sequence[str] | None = None) -> Iterator[Any]:
        """The rows of one file, some thousands at a time.

        :param path: one of ``shards``
        :param columns: only these
        :yield: Arrow record batches
        :raises CatalogError: if the file is damaged
        """
        try:
            with self.place.filesystem.open_input_file(path) as stream:
                yield from pq.ParquetFile(stream).iter_batches(batch_size=ROW_GROUP, columns=columns)
        except pa.ArrowException as error:
            raise CatalogError(f"{self.place.name(path)} is damaged: {error}") from None

    def failures(self) -> Iterator[tuple[str, str]]:
        """What has no vector.

        :yield: (path, reason)
        """
        for file in self.place.files(PARQUET, below="errors"):
            with self.place.filesystem.open_input_file(file.path) as stream:
                table = pq.read_table(stream)
            yield from zip(table["path"].to_pylist(), table["reason"].to_pylist(), strict=True)


def vectors_of(batch: Any) -> FloatArray:
    """The vectors of an Arrow record batch.

    :param batch: rows with a column ``vector``
    :return: float32 (n, dimension), as stored
    """
    column = batch.column("vector")
    numbers: NDArray[Any] = column.flatten().to_numpy(zero_copy_only=False)
    return numbers.astype(np.float32).reshape(len(column), -1)
