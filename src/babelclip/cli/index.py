"""babelclip index, tag: what a photo collection holds."""

from collections import Counter
from dataclasses import asdict
from pathlib import Path
from typing import Annotated

import typer

from babelclip.catalog.catalog import Catalog
from babelclip.catalog.vector_format import StoredForm
from babelclip.cli import output
from babelclip.cli.options import AsJson, IndexFile, ModelName, Precision, Runtime, load, system_language, words
from babelclip.errors import InputError
from babelclip.indexing.indexer import bring_up_to_date
from babelclip.indexing.report import IndexReport
from babelclip.media.crawl import canonical_path
from babelclip.media.path_rules import PathRules
from babelclip.media.video import EVERY_SECONDS
from babelclip.models.model import Model
from babelclip.models.registry import DEFAULT
from babelclip.search.confidence import ANY
from babelclip.search.index import Index
from babelclip.settings import settings

FAILURES_SHOWN = 20
_SKIPPED = {
    "system": "in recycle bins and folders of thumbnails (--include-system reads them)",
    "excluded": "that --exclude matches",
}


Paths = Annotated[list[Path], typer.Argument(help="Folders, photos, videos or archives of photos.", show_default=False)]
Every = Annotated[
    float, typer.Option("--every", min=0, help="Seconds between two sampled frames of a video; 0 skips videos.")
]
Vectors = Annotated[
    StoredForm | None,
    typer.Option("--vectors", help="Stored form of vectors in a new index: float16, or int8 at half the size."),
]
Exclude = Annotated[
    list[str] | None,
    typer.Option("--exclude", help="Skip files and folders whose name, or path with /, matches this pattern."),
]
IncludeSystem = Annotated[
    bool, typer.Option("--include-system", help="Read recycle bins and folders of thumbnails too.")
]
Watch = Annotated[bool, typer.Option("--watch", help="Keep running and index changes in the folders.")]


def index(
    paths: Paths,
    every: Every = EVERY_SECONDS,
    vectors: Vectors = None,
    exclude: Exclude = None,
    include_system: IncludeSystem = False,
    watch: Watch = False,
    index_file: IndexFile = None,
    model: ModelName = DEFAULT,
    runtime: Runtime = None,
    precision: Precision = "auto",
    json: AsJson = False,
) -> None:
    """Index photos and videos. Run it again to update the index."""
    for path in paths:
        if not path.expanduser().exists():
            raise InputError(f"{path}: no such file or folder")
    rules = PathRules(include_system, tuple(exclude or ()))
    loaded = load(model, runtime, precision)
    catalog = _open(index_file or settings().index, loaded, vectors)
    opened = Index.of(catalog, loaded)

    def bring_in() -> None:
        for path in paths:
            with output.progress(f"indexing {path}") as bar:
                report = bring_up_to_date(
                    catalog,
                    loaded,
                    path,
                    every_seconds=every,
                    rules=rules,
                    progress=lambda state: bar(state.done, state.total),
                )
            _show_report(path, report, as_json=json)
        with output.progress("preparing the index for search") as bar:
            languages = dict.fromkeys((ANY, "en", system_language(loaded.languages)))
            opened.prepare(languages=languages, progress=lambda done, total: bar(done, total))
        if not json:
            unreadable = len(catalog.photos.failures())
            rest = f", {unreadable} more could not be read" if unreadable else ""
            output.line(f"The index holds {output.counted(catalog.vectors.count(), 'photo')}{rest}.")
        if watch:
            output.message("watching; Ctrl-C ends it")

    try:
        if watch:
            from babelclip.indexing.watch import follow

            for path, report in follow(catalog, loaded, paths, every_seconds=every, rules=rules, ready=bring_in):
                _show_report(path, report, as_json=json)
                opened.maintain()
        else:
            bring_in()
    finally:
        catalog.close()


def _open(file: Path, model: Model, vectors: StoredForm | None = None) -> Catalog:
    """Open a catalog, or make one."""
    return Catalog(
        file.expanduser(),
        model_name=model.name,
        fingerprint=model.fingerprint,
        dimension=model.dimension,
        vectors=vectors,
    )


def _show_report(path: Path, report: IndexReport, *, as_json: bool) -> None:
    """What was done with one path."""
    if as_json:
        output.json_line({"path": str(path), **asdict(report)})
        return
    output.line(
        f"{path}: {report.added} added, {report.known_content} moved or copied, {report.unchanged} unchanged, "
        f"{report.removed} removed, {len(report.failed)} could not be read"
    )
    for reason, why in _SKIPPED.items():
        skipped = [(where, files) for where, because, files in report.skipped if because == reason]
        if skipped:
            files = output.counted(sum(files for _, files in skipped), "file")
            output.message(f"skipped {files} {why}, such as {skipped[0][0]}")
    # What many files have in common, such as a package that is not installed, is said once.
    often = Counter(reason for _, reason in report.failed)
    shown = list({(reason if often[reason] > 1 else name): (name, reason) for name, reason in report.failed}.values())
    for name, reason in shown[:FAILURES_SHOWN]:
        others = f" (and {often[reason] - 1} more like it)" if often[reason] > 1 else ""
        output.message((reason if reason.startswith(name) else f"{name}: {reason}") + others)
    if len(shown) > FAILURES_SHOWN:
        output.message(f"... and {len(shown) - FAILURES_SHOWN} more; --json lists them all")


def tag(
    paths: Annotated[list[Path], typer.Argument(help="Photos or folders in the index.", show_default=False)],
    add: Annotated[str, typer.Option("--add", help="Tags to add, separated by commas.")] = "",
    remove: Annotated[str, typer.Option("--remove", help="Tags to remove, separated by commas.")] = "",
    favourite: Annotated[
        bool | None, typer.Option("--favourite/--no-favourite", help="Mark or unmark as favourites.")
    ] = None,
    index_file: IndexFile = None,
    model: ModelName = DEFAULT,
    json: AsJson = False,
) -> None:
    """Tag photos, or print their tags."""
    file = (index_file or settings().index).expanduser()
    if not file.is_file():
        raise InputError(f"there is no index at {file}; make one with: babelclip index FOLDER")
    catalog = _open(file, load(model, None, "auto"))
    try:
        absolute = [str(canonical_path(path)) for path in paths]
        tagged = catalog.tag(absolute, add=words(add), remove=words(remove), favourite=favourite)
    finally:
        catalog.close()
    if json:
        for path, is_favourite, tags in tagged:
            output.json_line({"path": path, "favourite": is_favourite, "tags": tags})
    else:
        rows = [("*" if is_favourite else "", path, ", ".join(tags)) for path, is_favourite, tags in tagged]
        output.table(("", "photo", "tags"), rows)
