"""Bulk run: the incomplete shards of a source are embedded in this process or by workers of Ray."""

import logging
import math
import os
import time
from collections.abc import Callable, Iterator
from dataclasses import asdict, dataclass, field
from typing import Any

from babelclip.errors import BabelclipError, ClusterError, InputError
from babelclip.extras import importing
from babelclip.models.model import Model
from babelclip.models.precision import Precision
from babelclip.scale.embedding import BulkJob, ShardEmbedder, ShardReport
from babelclip.scale.sources import ImageSource, find_files, plan_shards
from babelclip.scale.vector_files import Numbers, VectorFolder, VectorManifest
from babelclip.settings import keep_ray_from_reporting

SHARD_FILES = 1000
MAX_TASKS = 10_000
"""Maximum number of tasks, because Ray keeps a record of each; a task then has several shards, embedded one by one."""
OBJECT_STORE_BYTES = 128 * 2**20
"""Object store of a Ray that is started for one run: it transfers only names and reports."""
MAX_START_DEATHS = 3


@dataclass(frozen=True, slots=True)
class Pool:
    """Number of workers, their resources, and the address of the Ray cluster (None: a local one for this run)."""

    workers: int = 1
    cpus: float = 1
    gpus: float = 0
    address: str | None = None


@dataclass(slots=True)
class BulkReport:
    """The result of a run: all shards, those complete before, completed now and failed; rows with and without a vector.

    ``seconds`` include the start of the workers.
    """

    shards: int = 0
    skipped: int = 0
    done: int = 0
    rows: int = 0
    errors: int = 0
    bytes: int = 0
    seconds: float = 0.0
    failed: list[tuple[int, str]] = field(default_factory=list)


def embed_all(
    source: ImageSource,
    target: str,
    model: Model,
    *,
    pool: Pool,
    runtime: str | None = None,
    precision: Precision = "float32",
    name: str,
    numbers: Numbers = "float16",
    shard_files: int = SHARD_FILES,
    show: Callable[[ShardReport, BulkReport], None] | None = None,
) -> BulkReport:
    """Embed a source into a folder of vectors. After an interruption, the same call continues.

    :param source: the pictures
    :param target: the folder, a path or URL
    :param model: the model; every worker loads its own copy
    :param pool: the workers; with 0 workers the run is in this process, without Ray
    :param runtime: runtime of the workers
    :param precision: precision of the workers
    :param name: name or folder of the model for the workers
    :param numbers: number format of the stored vectors
    :param shard_files: number of photos in a shard; each Parquet or tar file is a shard
    :param show: is told of every shard that is done, and of all so far
    :return: the result
    :raises InputError: if the source has no files
    :raises ModelMismatchError: if the folder is of another model
    :raises CatalogError: if the folder is of another source
    :raises ClusterError: if the workers cannot run, or have another model or version of babelclip
    """
    started = time.monotonic()
    manifest = VectorManifest(model.name, model.fingerprint, model.dimension, numbers, source.name, source.kind)
    folder = VectorFolder(target)
    folder.claim(manifest)
    known = folder.read_plan()
    shards = plan_shards(find_files(source), known, shard_size=shard_files if source.kind == "photos" else 1)
    if len(shards) > len(known):
        folder.write_plan(shards)
    finished = folder.finished()
    remaining = [(number, files) for number, files in enumerate(shards) if number not in finished]
    threads = max(1, math.floor(pool.cpus)) if pool.workers else 0
    job = BulkJob(source, target, manifest, name, runtime, precision, threads)
    total = BulkReport(shards=len(shards), skipped=len(shards) - len(remaining))
    if not remaining:
        return total
    for report in _embed_locally(job, remaining) if not pool.workers else _embed_by_ray(job, remaining, pool):
        if report.failed:
            total.failed.append((report.shard, report.failed))
        else:
            total.done += 1
        total.rows += report.rows
        total.errors += report.errors
        total.bytes += report.bytes
        total.seconds = time.monotonic() - started
        if show is not None:
            show(report, total)
    folder.tidy()
    return total


def _embed_locally(job: BulkJob, shards: list[tuple[int, list[str]]]) -> Iterator[ShardReport]:
    """Embed shards one after the other in this process."""
    embedder = ShardEmbedder(job)
    for number, files in shards:
        yield embedder.embed(number, files)


class RayWorker:
    """Adapts ShardEmbedder to Ray Data: a batch is one shard, and the result is its report.

    Errors of the whole run are reported, not raised, because Ray would restart the worker repeatedly.
    """

    def __init__(self, job: BulkJob) -> None:
        """Store the run; the model is loaded with the first shard.

        :param job: the run
        """
        self._job = job
        self._embedder: ShardEmbedder | None = None

    def __call__(self, batch: dict[str, Any]) -> dict[str, Any]:
        """Embed one shard.

        :param batch: columns ``shard`` and ``files``, of one row
        :return: columns of one ShardReport
        """
        shard, files = int(batch["shard"][0]), [str(file) for file in batch["files"][0]]
        try:
            if self._embedder is None:
                self._embedder = ShardEmbedder(self._job)
            report = self._embedder.embed(shard, files)
        except BabelclipError as error:
            report = ShardReport(shard, 0, 0, 0, 0.0, os.getpid(), failed=str(error), fatal=True)
        return {key: [value] for key, value in asdict(report).items()}


def _embed_by_ray(job: BulkJob, shards: list[tuple[int, list[str]]], pool: Pool) -> Iterator[ShardReport]:
    """Embed shards by a pool of Ray actors. A worker that dies is restarted, and its shard is repeated."""
    keep_ray_from_reporting()
    with importing("scale"):
        import ray
        from ray.data import ActorPoolStrategy, DataContext
    _start(ray, pool)
    try:
        context = DataContext.get_current()
        logging.getLogger("ray.data").setLevel(logging.ERROR)
        context.enable_progress_bars = False
        context.print_on_execution_start = False
        context.max_consecutive_actor_init_deaths = MAX_START_DEATHS
        # The duration of a shard is not limited.
        context.execution_no_progress_timeout_s = -1
        rows = [{"shard": number, "files": files} for number, files in shards]
        reports = ray.data.from_items(rows, override_num_blocks=min(len(rows), MAX_TASKS)).map_batches(
            RayWorker,
            fn_constructor_args=(job,),
            batch_size=1,
            compute=ActorPoolStrategy(size=min(pool.workers, len(shards)), max_tasks_in_flight_per_actor=1),
            num_cpus=pool.cpus,
            num_gpus=pool.gpus or None,
        )
        for row in reports.iter_rows():
            report = ShardReport(**row)
            if report.fatal:
                raise ClusterError(f"worker {report.worker}: {report.failed}")
            yield report
    except ray.exceptions.RayError as error:
        raise ClusterError(f"the workers failed: {str(error).strip().splitlines()[-1]}") from error
    finally:
        ray.shutdown()


def _start(ray: Any, pool: Pool) -> None:
    """Join the cluster, or start a local one for this run."""
    if ray.is_initialized():
        raise InputError("Ray is running in this process already; shut it down first (ray.shutdown())")
    local: dict[str, Any] = {
        "num_cpus": math.ceil(pool.workers * pool.cpus) + 1,
        "num_gpus": math.ceil(pool.workers * pool.gpus) or None,
        "object_store_memory": OBJECT_STORE_BYTES,
        "include_dashboard": False,
    }
    try:
        ray.init(
            address=pool.address or "local",
            log_to_driver=False,
            logging_level="ERROR",
            **({} if pool.address else local),
        )
    except (ConnectionError, ValueError, RuntimeError, OSError) as error:
        raise ClusterError(f"Ray fails at {pool.address or 'this machine'}: {error}; check --address") from None
