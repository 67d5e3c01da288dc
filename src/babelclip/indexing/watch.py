"""Following folders: what changes in them is brought into the catalog as it happens."""

import os
import threading
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path

from babelclip.catalog.catalog import Catalog
from babelclip.errors import InputError
from babelclip.extras import importing
from babelclip.indexing.indexer import IndexReport, bring_up_to_date
from babelclip.indexing.scan import storable
from babelclip.media.crawl import SIDECAR_SUFFIX, kind_of, settled
from babelclip.media.path_rules import DEFAULT_RULES, PathRules
from babelclip.media.video import EVERY_SECONDS
from babelclip.models.model import Model

with importing("watch"):
    from watchfiles import Change, watch

QUIET_MS = 1600
"""Changes are gathered until nothing has changed for about this long, so that a file is whole before it is read."""
TICK_MS = 500


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
    """Bring in what changes below some folders, until the loop is left. What changed before is left to ``ready``.

    :param catalog: the catalog
    :param model: what makes its vectors
    :param roots: folders
    :param every_seconds: as in bring_up_to_date
    :param rules: as in bring_up_to_date
    :param stop: ends the loop when it is set
    :param ready: is called once, when changes are seen; what changes while it runs is brought in after it
    :yield: a file or folder that changed, and what was done
    :raises InputError: if a root is not there, or goes
    """
    bases = [settled(root) for root in roots]
    for base in bases:
        if not base.is_dir() or not storable(str(base)):
            raise InputError(f"{base}: not a folder that can be followed, or its name is not valid UTF-8")
    for batch in watch(
        *bases, stop_event=stop, debounce=QUIET_MS, rust_timeout=TICK_MS, yield_on_timeout=True, raise_interrupt=True
    ):
        if ready is not None:
            ready()
            ready = None
        for base in bases:
            if not base.is_dir():
                raise InputError(f"{base} is gone; nothing of it was forgotten")
        yield from _bring_in(catalog, model, bases, batch, every_seconds, rules)


def _bring_in(
    catalog: Catalog,
    model: Model,
    bases: Sequence[Path],
    batch: set[tuple[Change, str]],
    every_seconds: float,
    rules: PathRules,
) -> Iterator[tuple[Path, IndexReport]]:
    """One batch of changes: what came first, then what went, so that what was moved is not lost between."""
    paths = [Path(path) for path in sorted({path for _, path in batch}) if not _is_skipped(Path(path), bases, rules)]
    done: set[Path] = set()
    for path in paths:
        for target in _targets(path):
            if target in done or any(parent in done for parent in target.parents):
                continue
            done.add(target)
            try:
                base = max(
                    (base for base in bases if target.is_relative_to(base)),
                    key=lambda base: len(base.parts),
                    default=target,
                )
                report = bring_up_to_date(
                    catalog, model, target, every_seconds=every_seconds, rules=rules, rules_from=base
                )
            except InputError:
                if target in bases:
                    raise
                # It went again before it was looked at; then there is another change that says so.
                continue
            if report != IndexReport(unchanged=report.unchanged, skipped=report.skipped):
                yield target, report
    for path in paths:
        gone = [] if os.path.lexists(path) else catalog.paths_below(str(path))
        if gone:
            catalog.forget(gone)
            yield path, IndexReport(removed=len(gone))


def _is_skipped(path: Path, bases: Sequence[Path], rules: PathRules) -> bool:
    """Whether a path is passed over, as a crawl passes it over."""
    below = [path.relative_to(base).parts for base in bases if path.is_relative_to(base)]
    return all(rules.reason(parts) is not None for parts in below)


def _targets(path: Path) -> list[Path]:
    """What must be looked at because a path changed: itself, or the photos whose sidecar it is."""
    if path.suffix.lower() == SIDECAR_SUFFIX:
        beside = path.parent.iterdir() if path.parent.is_dir() else iter(())
        return [one for one in beside if kind_of(one.name) and path.stem in (one.name, one.stem)]
    if path.is_dir():
        return [path]
    return [path] if kind_of(path.name) and path.is_file() else []
