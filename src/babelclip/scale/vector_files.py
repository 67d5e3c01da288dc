"""Parquet files of vectors, format 1, which a bulk run writes and ``scale load`` reads.

docs/reference/stored-formats.md describes the columns.

DEST/manifest.json         format, model, fingerprint, dimension, numbers, source, kind
DEST/plan.parquet          shard, file: the files of each shard; later runs only append
DEST/vectors/000000.parquet  the rows of a shard; the shard is complete if the file exists
DEST/errors/000000.parquet   path, reason: rows of the shard without a vector; written before its vectors
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
from babelclip.scale.locations import PARTIAL, Location, open_location
from babelclip.vectors import FloatArray

FORMAT = 1
ROW_GROUP = 4096
FACTS = ("width", "height", "taken_at", "latitude", "longitude", "camera", "caption", "keywords")
"""The columns that are fields of Metadata."""
PARQUET = frozenset((".parquet",))

Numbers = Literal["float16", "float32"]


@dataclass(frozen=True, slots=True)
class VectorManifest:
    """The model and source of a folder of vectors, and the number format of its vectors."""

    model: str
    fingerprint: str
    dimension: int
    numbers: Numbers
    source: str
    kind: str
    format: int = FORMAT


@dataclass(frozen=True, slots=True)
class VectorRow:
    """A picture and its vector. ``metadata`` is a JSON object as text, or None."""

    path: str
    hash: bytes
    vector: FloatArray
    size: int
    mtime_ns: int | None = None
    facts: Metadata = NO_METADATA
    metadata: str | None = None


def row_schema(manifest: VectorManifest) -> Any:
    """Make the schema of a file of vectors.

    :param manifest: the manifest; it becomes metadata of the schema
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


def table_of(rows: Sequence[VectorRow], manifest: VectorManifest) -> Any:
    """Convert rows to an Arrow table.

    :param rows: pictures, each vector float32 (dimension,)
    :param manifest: the manifest
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
    """A folder of vectors, local or in an object store."""

    def __init__(self, name: str) -> None:
        """Open the location; nothing is read or written.

        :param name: path or URL of the folder
        """
        self.name = name
        self.location: Location = open_location(name)

    def manifest(self) -> VectorManifest | None:
        """Read the manifest.

        :return: the manifest, or None if there is none
        :raises CatalogError: if the manifest is damaged or of a newer format
        """
        path = self.location.inner("manifest.json")
        if not self.location.exists(path):
            return None
        try:
            with self.location.filesystem.open_input_stream(path) as stream:
                content = json.loads(stream.read())
            if int(content["format"]) > FORMAT:
                raise CatalogError(f"{self.name} was made by a newer babelclip; update to read it")
            return VectorManifest(**content)
        except (ValueError, TypeError, KeyError) as error:
            raise CatalogError(f"{self.location.name(path)} is damaged: {error}") from None

    def claim(self, wanted: VectorManifest) -> None:
        """Write the manifest of a new folder, or check that of an existing one.

        :param wanted: the manifest of the run
        :raises ModelMismatchError: if the folder is of another model
        :raises CatalogError: if its source, kind or number format differs
        """
        existing = self.manifest()
        if existing is None:
            if self.location.files(PARQUET):
                raise CatalogError(f"{self.name} holds Parquet files but no manifest; give a new folder")
            content = json.dumps(asdict(wanted), indent=1, ensure_ascii=False) + "\n"
            with self.location.written(self.location.inner("manifest.json")) as stream:
                stream.write(content.encode())
            return
        if existing.fingerprint != wanted.fingerprint:
            raise ModelMismatchError(
                f"{self.name} was made by model {existing.model} ({existing.fingerprint[:12]}), not by {wanted.model} "
                f"({wanted.fingerprint[:12]}). Use that model (--model), or give a new folder"
            )
        for key in ("source", "kind", "numbers"):
            if getattr(existing, key) != getattr(wanted, key):
                raise CatalogError(
                    f"{self.name} was started with {key} {getattr(existing, key)}, not {getattr(wanted, key)}; "
                    "give the same, or a new folder"
                )

    def read_plan(self) -> list[list[str]]:
        """Read the shard plan.

        :return: names of files by shard; empty if there is no plan
        """
        path = self.location.inner("plan.parquet")
        if not self.location.exists(path):
            return []
        with self.location.filesystem.open_input_file(path) as stream:
            table = pq.read_table(stream)
        shards: list[list[str]] = []
        for number, file in zip(table["shard"].to_pylist(), table["file"].to_pylist(), strict=True):
            while len(shards) <= number:
                shards.append([])
            shards[number].append(file)
        return shards

    def write_plan(self, shards: Sequence[Sequence[str]]) -> None:
        """Write the shard plan.

        :param shards: names of files by shard
        """
        numbers = [number for number, files in enumerate(shards) for _ in files]
        names = [file for files in shards for file in files]
        table = pa.table({"shard": numbers, "file": names}, schema=PLAN_SCHEMA)
        with self.location.written(self.location.inner("plan.parquet")) as stream:
            pq.write_table(table, stream)

    def finished(self) -> set[int]:
        """List the complete shards.

        :return: numbers of the shards
        """
        names = [file.path.rpartition("/")[2] for file in self.location.files(PARQUET, below="vectors")]
        return {int(name.removesuffix(".parquet")) for name in names}

    def tidy(self) -> None:
        """Remove the unfinished files of killed workers; no worker may be writing."""
        for table in ("vectors", "errors"):
            for file in self.location.files(frozenset((PARTIAL,)), below=table):
                self.location.filesystem.delete_file(file.path)

    def shard_path(self, table: Literal["vectors", "errors"], shard: int) -> str:
        """Return the path of a file of a shard.

        :param table: the kind of file
        :param shard: number of the shard
        :return: a path in the file system
        """
        return self.location.inner(table, f"{shard:06d}.parquet")

    def shards(self) -> list[str]:
        """List the files of vectors in order.

        :return: paths in the file system
        """
        return [file.path for file in self.location.files(PARQUET, below="vectors")]

    def batches(self, path: str, columns: Sequence[str] | None = None) -> Iterator[Any]:
        """Read the rows of one file in batches of some thousands.

        :param path: one of ``shards``
        :param columns: the columns to read; all if None
        :yield: Arrow record batches
        :raises CatalogError: if the file is damaged
        """
        try:
            with self.location.filesystem.open_input_file(path) as stream:
                yield from pq.ParquetFile(stream).iter_batches(batch_size=ROW_GROUP, columns=columns)
        except pa.ArrowException as error:
            raise CatalogError(f"{self.location.name(path)} is damaged: {error}") from None

    def failures(self) -> Iterator[tuple[str, str]]:
        """Read the rows without a vector.

        :yield: (path, reason)
        """
        for file in self.location.files(PARQUET, below="errors"):
            with self.location.filesystem.open_input_file(file.path) as stream:
                table = pq.read_table(stream)
            yield from zip(table["path"].to_pylist(), table["reason"].to_pylist(), strict=True)


def vectors_of(batch: Any) -> FloatArray:
    """Read the vectors of an Arrow record batch.

    :param batch: rows with a column ``vector``
    :return: float32 (n, dimension), as stored
    """
    column = batch.column("vector")
    numbers: NDArray[Any] = column.flatten().to_numpy(zero_copy_only=False)
    return numbers.astype(np.float32).reshape(len(column), -1)
