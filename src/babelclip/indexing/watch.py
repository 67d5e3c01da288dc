"""Watching folders: changes below them are indexed as they happen."""

import os
import threading
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path

from babelclip.catalog.catalog import Catalog
from babelclip.errors import InputError
from babelclip.extras import importing
from babelclip.indexing.indexer import bring_up_to_date
from babelclip.indexing.report import IndexReport
from babelclip.indexing.scan import is_utf8
from babelclip.media.crawl import SIDECAR_SUFFIX, canonical_path, kind_of
from babelclip.media.path_rules import DEFAULT_RULES, PathRules
from babelclip.media.video import EVERY_SECONDS
from babelclip.models.model import Model

with importing("watch"):
    from watchfiles import Change, watch

DEBOUNCE_MS = 1600
"""Changes are collected until nothing has changed for about this long, so that a file is complete when it is read."""
TIMEOUT_MS = 500


def follow(
    catalog: Catalog,
    model: Model,
    roots: Sequence[Path],
    *,
    every_seconds: float = EVERY_SECONDS,
    rules: PathRules = DEFAULT_RULES,
    stop: threading.Event | None = None,
    ready: Callable[[], None] | None = None,
) -> Iterator[tuple[Path, IndexReport]]:
    """Index changes below folders as they happen, until the loop is left. ``ready`` indexes earlier changes.

    :param catalog: the catalog
    :param model: the model that encodes
    :param roots: folders
    :param every_seconds: as in bring_up_to_date
    :param rules: as in bring_up_to_date
    :param stop: ends the loop when it is set
    :param ready: called once, as soon as changes are noticed; changes during the call are indexed after it
    :yield: a file or folder that changed, and its report
    :raises InputError: if a root does not exist, or is deleted
    """
    bases = [canonical_path(root) for root in roots]
    for base in bases:
        if not base.is_dir() or not is_utf8(str(base)):
            raise InputError(f"{base}: not a folder that can be followed, or its name is not valid UTF-8")
    for changes in watch(
        *bases,
        stop_event=stop,
        debounce=DEBOUNCE_MS,
        rust_timeout=TIMEOUT_MS,
        yield_on_timeout=True,
        raise_interrupt=True,
    ):
        if ready is not None:
            ready()
            ready = None
        for base in bases:
            if not base.is_dir():
                raise InputError(f"{base} is gone; nothing of it was forgotten")
        yield from _index_changes(catalog, model, bases, changes, every_seconds, rules)


def _index_changes(
    catalog: Catalog,
    model: Model,
    bases: Sequence[Path],
    changes: set[tuple[Change, str]],
    every_seconds: float,
    rules: PathRules,
) -> Iterator[tuple[Path, IndexReport]]:
    """Index one batch of changes: first additions, then removals, so that the content of a moved file is kept."""
    paths = [Path(path) for path in sorted({path for _, path in changes}) if not _is_skipped(Path(path), bases, rules)]
    done: set[Path] = set()
    for path in paths:
        for target in _targets(path):
            if target in done or any(parent in done for parent in target.parents):
                continue
            done.add(target)
            try:
                rules_from = max(
                    (base for base in bases if target.is_relative_to(base)),
                    key=lambda base: len(base.parts),
                    default=target,
                )
                report = bring_up_to_date(
                    catalog, model, target, every_seconds=every_seconds, rules=rules, rules_from=rules_from
                )
            except InputError:
                if target in bases:
                    raise
                # The file was deleted before it was scanned; another change reports that.
                continue
            if report != IndexReport(unchanged=report.unchanged, skipped=report.skipped):
                yield target, report
    for path in paths:
        missing = [] if os.path.lexists(path) else catalog.photos.paths_below(str(path))
        if missing:
            catalog.forget(missing)
            yield path, IndexReport(removed=len(missing))


def _is_skipped(path: Path, bases: Sequence[Path], rules: PathRules) -> bool:
    """Whether a path is skipped, as in a crawl."""
    relative = [path.relative_to(base).parts for base in bases if path.is_relative_to(base)]
    return all(rules.reason(parts) is not None for parts in relative)


def _targets(path: Path) -> list[Path]:
    """The files to index after a change of a path: the file itself, or the photos that a sidecar belongs to."""
    if path.suffix.lower() == SIDECAR_SUFFIX:
        siblings = path.parent.iterdir() if path.parent.is_dir() else iter(())
        return [file for file in siblings if kind_of(file.name) and path.stem in (file.name, file.stem)]
    if path.is_dir():
        return [path]
    return [path] if kind_of(path.name) and path.is_file() else []
