"""Embedding of one shard: pictures are read, encoded and written as a stream, in constant memory."""

import os
import time
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from functools import partial

import pyarrow as pa
import pyarrow.parquet as pq

from babelclip.errors import ImageError, ModelMismatchError
from babelclip.media import raw
from babelclip.media.images import ImageInput
from babelclip.models.model import Model
from babelclip.models.precision import Precision
from babelclip.pipeline import chunks
from babelclip.scale.sources import ImageSource, Picture, Unreadable, as_json, pictures
from babelclip.scale.vector_files import (
    ERROR_SCHEMA,
    ROW_GROUP,
    VectorFolder,
    VectorManifest,
    VectorRow,
    row_schema,
    table_of,
)
from babelclip.vectors import FloatArray

NO_VECTOR = "the encoder gave no vector for it"


@dataclass(frozen=True, slots=True)
class BulkJob:
    """A bulk run: model, source and target. Every worker receives it."""

    source: ImageSource
    target: str
    manifest: VectorManifest
    model: str
    runtime: str | None
    precision: Precision
    threads: int


@dataclass(frozen=True, slots=True)
class ShardReport:
    """The result of a shard: rows with and without a vector, bytes of pictures, seconds, process id of the worker.

    ``failed`` is the reason why the shard is not complete, or empty. ``fatal`` means that the other shards would fail
    too.
    """

    shard: int
    rows: int
    errors: int
    bytes: int
    seconds: float
    worker: int
    failed: str = ""
    fatal: bool = False


class ShardEmbedder:
    """Embeds shards with one loaded model."""

    def __init__(self, job: BulkJob) -> None:
        """Load the model.

        :param job: the run
        :raises ModelMismatchError: if the model of this name differs from the one of the run
        """
        self._job = job
        self._model = Model.load(job.model, runtime=job.runtime, precision=job.precision, threads=job.threads)
        if self._model.fingerprint != job.manifest.fingerprint:
            raise ModelMismatchError(
                f"model {job.model} of this worker ({self._model.fingerprint[:12]}) is not the one of this run "
                f"({job.manifest.fingerprint[:12]}); install the same on every machine"
            )
        self._folder = VectorFolder(job.target)

    def embed(self, shard: int, files: list[str]) -> ShardReport:
        """Embed a shard and write its two tables, its vectors last.

        :param shard: number of the shard
        :param files: files of the shard
        :return: the result
        """
        started = time.monotonic()
        report = partial(ShardReport, shard, worker=os.getpid())
        if self._folder.location.exists(self._folder.shard_path("vectors", shard)):
            return report(rows=0, errors=0, bytes=0, seconds=0.0)
        errors: list[Unreadable] = []
        counted = _ByteCounter(pictures(self._job.source, files))
        try:
            with self._folder.location.written(self._folder.shard_path("vectors", shard)) as stream:
                rows = self._write(stream, self._rows(counted, errors))
                self._write_errors(shard, errors)
        except OSError as error:
            # The store or a file is not accessible: other shards can succeed, and the next run repeats this one.
            return report(
                rows=0,
                errors=0,
                bytes=counted.bytes,
                seconds=time.monotonic() - started,
                failed=str(error) or repr(error),
            )
        return report(rows=rows, errors=len(errors), bytes=counted.bytes, seconds=time.monotonic() - started)

    def _rows(self, source: Iterable[Picture | Unreadable], errors: list[Unreadable]) -> Iterator[VectorRow]:
        """Make a row for every readable picture; append the others to ``errors``."""
        pending: dict[int, Picture] = {}

        def contents() -> Iterator[tuple[int, ImageInput]]:
            for number, picture in enumerate(source):
                if isinstance(picture, Unreadable):
                    errors.append(picture)
                    continue
                try:
                    image = raw.as_picture(picture.content, picture.path)
                except ImageError as error:
                    errors.append(Unreadable(picture.path, str(error)))
                    continue
                pending[number] = picture
                yield number, image

        for number, vector in self._model.stream_images(contents()):
            picture = pending.pop(number, None)
            if picture is None:
                continue
            if isinstance(vector, ImageError):
                errors.append(Unreadable(picture.path, str(vector)))
            else:
                yield _row(picture, vector)
        errors.extend(Unreadable(picture.path, NO_VECTOR) for picture in pending.values())

    def _write(self, stream: object, rows: Iterator[VectorRow]) -> int:
        """Write rows in groups; return their number."""
        written = 0
        with pq.ParquetWriter(stream, row_schema(self._job.manifest), compression="zstd") as writer:
            for group in chunks(rows, ROW_GROUP):
                writer.write_table(table_of(group, self._job.manifest))
                written += len(group)
        return written

    def _write_errors(self, shard: int, errors: list[Unreadable]) -> None:
        """Write the rows of a shard without a vector, if there are any."""
        if errors:
            table = pa.table(
                {"path": [e.path for e in errors], "reason": [e.reason for e in errors]}, schema=ERROR_SCHEMA
            )
            with self._folder.location.written(self._folder.shard_path("errors", shard)) as stream:
                pq.write_table(table, stream)


class _ByteCounter:
    """Counts the bytes of pictures while iterating over them."""

    def __init__(self, pictures: Iterator[Picture | Unreadable]) -> None:
        self._pictures = pictures
        self.bytes = 0

    def __iter__(self) -> Iterator[Picture | Unreadable]:
        for picture in self._pictures:
            if isinstance(picture, Picture):
                self.bytes += len(picture.content)
            yield picture


def _row(picture: Picture, vector: FloatArray) -> VectorRow:
    return VectorRow(
        path=picture.path,
        hash=picture.hash,
        vector=vector,
        size=len(picture.content),
        mtime_ns=picture.mtime_ns,
        facts=picture.facts,
        metadata=as_json(picture.metadata),
    )
