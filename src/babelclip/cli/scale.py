"""babelclip scale: collections that are too large for one machine."""

from collections.abc import Sequence
from dataclasses import asdict
from itertools import islice
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Literal

import typer

from babelclip.cli import output
from babelclip.cli.options import AsJson, ModelName, Precision, Runtime, load
from babelclip.errors import BabelclipError
from babelclip.models.registry import BUNDLED, DEFAULT
from babelclip.vectors import FloatArray

if TYPE_CHECKING:
    from babelclip.scale.bulk import BulkReport
    from babelclip.scale.embedding import ShardReport
    from babelclip.stores import ModelIdentity

FAILURES_SHOWN = 20

APP = typer.Typer(help="Collections that are too large for one machine (extra scale).", no_args_is_help=True)

Source = Annotated[
    str,
    typer.Argument(
        help="A folder, a Parquet file or folder, or webdataset tars: a path, s3://, gs://, hdfs:// or another URL.",
        show_default=False,
    ),
]
Target = Annotated[str, typer.Argument(help="The folder of vectors to write: a path or URL.", show_default=False)]
Workers = Annotated[
    int, typer.Option(min=0, help="Number of processes with a model each; 0 works in this process, without Ray.")
]
Cpus = Annotated[float, typer.Option(min=0.1, help="Processors per worker.")]
Gpus = Annotated[float, typer.Option(min=0, help="GPUs per worker (with --runtime torch).")]
Address = Annotated[
    str | None, typer.Option(help="A Ray cluster: HOST:PORT, or auto. [default: Ray on this machine, for this run]")
]
Kind = Annotated[Literal["auto", "photos", "parquet", "webdataset"], typer.Option(help="Kind of the source.")]
Column = Annotated[str | None, typer.Option(help="Parquet column of image bytes, URLs or paths. [default: detected]")]
Numbers = Annotated[Literal["float16", "float32"], typer.Option(help="Number format of stored vectors.")]
ShardFiles = Annotated[int, typer.Option(min=1, help="Photos per shard; a Parquet or tar file is one shard.")]


@APP.command()
def embed(
    source: Source,
    target: Target,
    workers: Workers = 1,
    cpus: Cpus = 1,
    gpus: Gpus = 0,
    address: Address = None,
    kind: Kind = "auto",
    column: Column = None,
    numbers: Numbers = "float16",
    shard_files: ShardFiles = 1000,
    model: ModelName = DEFAULT,
    runtime: Runtime = None,
    precision: Precision = "auto",
    json: AsJson = False,
) -> None:
    """Embed images in bulk into Parquet files, with workers of Ray. Run it again to continue after an interruption."""
    from babelclip.scale import bulk
    from babelclip.scale.sources import ImageSource, find_kind

    images = ImageSource(source, find_kind(source) if kind == "auto" else kind, column)
    # Ray prints the stdout of dead workers, also from its own threads.
    with output.alone(), output.progress("starting the workers") as bar:

        def show(shard: "ShardReport", total: "BulkReport") -> None:
            bar(total.rows + total.errors, None, f"shard {total.skipped + total.done} of {total.shards}")
            if json:
                output.json_line(asdict(shard))

        report = bulk.embed_all(
            images,
            target,
            load(model, runtime, precision),
            pool=bulk.Pool(workers, cpus, gpus, address),
            runtime=runtime,
            precision=precision,
            name=_everywhere(model),
            numbers=numbers,
            shard_files=shard_files,
            show=show,
        )
    if json:
        output.json_line(asdict(report))
    else:
        _show_report(report, target)
    for number, reason in report.failed[:FAILURES_SHOWN]:
        output.message(f"shard {number} is not complete: {reason}; run the command again to repeat it")
    if report.failed:
        raise typer.Exit(1)


@APP.command("load")
def load_vectors(
    source: Annotated[str, typer.Argument(help="Folder of vectors written by `scale embed`.", show_default=False)],
    store: Annotated[
        str, typer.Argument(help="An index file, milvus://HOST:PORT/COLLECTION or milvus:///PATH/FILE.db")
    ],
    json: AsJson = False,
) -> None:
    """Load vectors into an index file or into Milvus. No model is needed."""
    from babelclip.scale.loading import LoadReport, load_all

    with output.progress(f"loading into {store}") as bar:

        def show(report: LoadReport, files: int) -> None:
            bar(report.rows, None, f"file {report.files + 1} of {files}")

        report = load_all(
            source, store, show=show, queries=_tuning_queries, progress=lambda done, total: bar(done, total, "graph")
        )
    if json:
        output.json_line(asdict(report))
    else:
        rate = report.rows / report.seconds if report.seconds else 0
        output.line(f"{store}: {report.rows} vectors from {report.files} files, {rate:.0f} a second")


def _tuning_queries(model: "ModelIdentity") -> Sequence[FloatArray]:
    """Encode the tuning queries of a graph, if the model that made the vectors is on this machine."""
    from babelclip.search.tuning_queries import tuning_vectors

    try:
        loaded = load(model.name, None)
    except BabelclipError:
        return ()
    return tuning_vectors(loaded) if loaded.fingerprint == model.fingerprint else ()


def _everywhere(model: str) -> str:
    """Make the name of a model valid for every worker: an absolute path for a folder."""
    path = Path(model).expanduser()
    return str(path.absolute()) if path.is_dir() and not (BUNDLED / model).is_dir() else model


def _show_report(report: "BulkReport", target: str) -> None:
    """Print the result of a run, and the first unreadable pictures."""
    from babelclip.scale.vector_files import VectorFolder

    output.line(
        f"{target}: {report.done} of {report.shards} shards done now, {report.skipped} before, "
        f"{len(report.failed)} not; {report.rows} pictures, {report.errors} could not be read"
    )
    if report.seconds and report.rows:
        output.line(
            f"{report.seconds:.1f} s, {report.rows / report.seconds:.0f} pictures and "
            f"{report.bytes / report.seconds / 2**20:.1f} MiB a second, with starting the workers"
        )
    if report.errors:
        for path, reason in islice(VectorFolder(target).failures(), FAILURES_SHOWN):
            output.message(reason if reason.startswith(path) else f"{path}: {reason}")
