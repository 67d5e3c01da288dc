"""Embedding one shard: its pictures are read, encoded and written as they come, in flat memory."""

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
from babelclip.scale.sources import Picture, Source, Unreadable, as_json, pictures
from babelclip.scale.vector_files import ERROR_SCHEMA, ROW_GROUP, Manifest, Row, VectorFolder, row_schema, table_of
from babelclip.vectors import FloatArray

NO_VECTOR = "the encoder gave no vector for it"


@dataclass(frozen=True, slots=True)
class Job:
    """A bulk run: which model makes vectors of which source, and where they go. It travels to every worker."""

    source: Source
    target: str
    manifest: Manifest
    model: str
    runtime: str | None
    precision: Precision
    threads: int


@dataclass(frozen=True, slots=True)
class ShardReport:
    """What became of a shard: rows with a vector and without, bytes of pictures, seconds, and the worker's process.

    ``failed`` says why the whole shard is not done; it is empty where it is. ``fatal`` means that no other shard can be
    done either.
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
    """A worker: one loaded model that embeds shard after shard."""

    def __init__(self, job: Job) -> None:
        """Load the model.

        :param job: the run
        :raises ModelMismatchError: if the model of that name is another here than where the run was begun
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

        :param shard: its number
        :param files: its files
        :return: what became of it
        """
        started = time.monotonic()
        report = partial(ShardReport, shard, worker=os.getpid())
        if self._folder.place.exists(self._folder.shard_path("vectors", shard)):
            return report(rows=0, errors=0, bytes=0, seconds=0.0)
        errors: list[Unreadable] = []
        counted = _Counted(pictures(self._job.source, files))
        try:
            with self._folder.place.written(self._folder.shard_path("vectors", shard)) as stream:
                rows = self._write(stream, self._rows(counted, errors))
                self._write_errors(shard, errors)
        except OSError as error:
            # The store is out of reach, or a file is: the others may be fine, and the next run tries this one again.
            return report(
                rows=0,
                errors=0,
                bytes=counted.bytes,
                seconds=time.monotonic() - started,
                failed=str(error) or repr(error),
            )
        return report(rows=rows, errors=len(errors), bytes=counted.bytes, seconds=time.monotonic() - started)

    def _rows(self, found: Iterable[Picture | Unreadable], errors: list[Unreadable]) -> Iterator[Row]:
        """A row for every picture that can be used; the others go to the errors."""
        pending: dict[int, Picture] = {}

        def contents() -> Iterator[tuple[int, ImageInput]]:
            for number, picture in enumerate(found):
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

    def _write(self, stream: object, rows: Iterator[Row]) -> int:
        """Write rows group by group; gives how many."""
        written = 0
        with pq.ParquetWriter(stream, row_schema(self._job.manifest), compression="zstd") as writer:
            for group in chunks(rows, ROW_GROUP):
                writer.write_table(table_of(group, self._job.manifest))
                written += len(group)
        return written

    def _write_errors(self, shard: int, errors: list[Unreadable]) -> None:
        """Write what of a shard has no vector; nothing where all is well."""
        if errors:
            table = pa.table(
                {"path": [e.path for e in errors], "reason": [e.reason for e in errors]}, schema=ERROR_SCHEMA
            )
            with self._folder.place.written(self._folder.shard_path("errors", shard)) as stream:
                pq.write_table(table, stream)


class _Counted:
    """Pictures, with their bytes added up as they pass."""

    def __init__(self, found: Iterator[Picture | Unreadable]) -> None:
        self._found = found
        self.bytes = 0

    def __iter__(self) -> Iterator[Picture | Unreadable]:
        for picture in self._found:
            if isinstance(picture, Picture):
                self.bytes += len(picture.content)
            yield picture


def _row(picture: Picture, vector: FloatArray) -> Row:
    return Row(
        path=picture.path,
        hash=picture.hash,
        vector=vector,
        size=len(picture.content),
        mtime_ns=picture.mtime_ns,
        facts=picture.facts,
        metadata=as_json(picture.metadata),
    )
