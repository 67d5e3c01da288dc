"""A bulk run: every shard of a source that is not done yet is embedded, here or by workers of Ray."""

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
from babelclip.scale.embedding import Job, ShardEmbedder, ShardReport
from babelclip.scale.sources import Source, find_files, plan
from babelclip.scale.vector_files import Manifest, Numbers, VectorFolder
from babelclip.settings import keep_ray_from_reporting

FILES_A_SHARD = 1000
MAX_TASKS = 10_000
"""Ray holds a record of every task: of more shards than this, several are one task. They are still done one by one."""
OBJECT_STORE_BYTES = 128 * 2**20
"""Of a Ray that runs for this job alone: only names and reports pass through it."""
MAX_START_DEATHS = 3


@dataclass(frozen=True, slots=True)
class Pool:
    """Workers: how many, what each may use, and the Ray cluster they run on (None: one of their own, here)."""

    workers: int = 1
    cpus: float = 1
    gpus: float = 0
    address: str | None = None


@dataclass(slots=True)
class BulkReport:
    """What a run did: shards in all, done before, done now and failed; rows with a vector and without.

    ``seconds`` are from the call on, with starting the workers.
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
    source: Source,
    target: str,
    model: Model,
    *,
    pool: Pool,
    runtime: str | None = None,
    precision: Precision = "float32",
    name: str,
    numbers: Numbers = "float16",
    files_a_shard: int = FILES_A_SHARD,
    show: Callable[[ShardReport, BulkReport], None] | None = None,
) -> BulkReport:
    """Embed a source into a folder of vectors. Ended at any moment, the same call goes on with what is not done.

    :param source: the pictures
    :param target: the folder, a path or URL
    :param model: the model, as it is here; every worker loads its own
    :param pool: the workers; none of them means in this process, without Ray
    :param runtime: the workers' engine
    :param precision: in what they calculate
    :param name: the model's name or folder, as workers shall load it
    :param numbers: how vectors are stored
    :param files_a_shard: how many photos a shard has; of Parquet and tar files each is a shard
    :param show: is told of every shard that is done, and of all so far
    :return: what was done
    :raises InputError: if the source holds nothing
    :raises ModelMismatchError: if another model began the folder
    :raises CatalogError: if the folder belongs to another source
    :raises ClusterError: if the workers cannot run, or have another model or babelclip
    """
    started = time.monotonic()
    manifest = Manifest(model.name, model.fingerprint, model.dimension, numbers, source.name, source.kind)
    folder = VectorFolder(target)
    folder.claim(manifest)
    known = folder.read_plan()
    shards = plan(find_files(source), known, a_shard=files_a_shard if source.kind == "photos" else 1)
    if len(shards) > len(known):
        folder.write_plan(shards)
    finished = folder.finished()
    left = [(number, files) for number, files in enumerate(shards) if number not in finished]
    threads = max(1, math.floor(pool.cpus)) if pool.workers else 0
    job = Job(source, target, manifest, name, runtime, precision, threads)
    total = BulkReport(shards=len(shards), skipped=len(shards) - len(left))
    if not left:
        return total
    for report in _embed_here(job, left) if not pool.workers else _embed_by_ray(job, left, pool):
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


def _embed_here(job: Job, shards: list[tuple[int, list[str]]]) -> Iterator[ShardReport]:
    """One after the other, in this process."""
    embedder = ShardEmbedder(job)
    for number, files in shards:
        yield embedder.embed(number, files)


class RayWorker:
    """A ShardEmbedder as Ray Data calls it: a batch is one shard, and gives one report.

    What is wrong with the whole run is reported too, not raised: Ray would start the worker again and again.
    """

    def __init__(self, job: Job) -> None:
        """Note the run; the model is loaded with the first shard.

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


def _embed_by_ray(job: Job, shards: list[tuple[int, list[str]]], pool: Pool) -> Iterator[ShardReport]:
    """By a pool of Ray's actors. A worker that dies is started again, and its shard is done anew."""
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
        # A shard may take as long as it takes.
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
        raise ClusterError(f"the workers cannot go on: {str(error).strip().splitlines()[-1]}") from error
    finally:
        ray.shutdown()


def _start(ray: Any, pool: Pool) -> None:
    """Join the cluster, or start one on this machine for this job alone."""
    if ray.is_initialized():
        raise InputError("Ray is running in this process already; shut it down first (ray.shutdown())")
    own: dict[str, Any] = {
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
            **({} if pool.address else own),
        )
    except (ConnectionError, ValueError, RuntimeError, OSError) as error:
        raise ClusterError(f"Ray cannot be used at {pool.address or 'this machine'}: {error}") from None
