"""The indexes that the operator mounts. One thread searches them all, since an index is used from one at a time.

Another thread builds and grows their graphs (``index_maintenance``).
"""

import asyncio
from collections.abc import Callable, Mapping
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, TypeVar

from babelclip.errors import ModelMismatchError
from babelclip.service.errors import ApiError
from babelclip.service.inference.index_maintenance import IndexMaintenance
from babelclip.service.inference.worker import Engine

if TYPE_CHECKING:
    from babelclip.search.index import Index

Result = TypeVar("Result")


@dataclass(frozen=True, slots=True)
class Mounted:
    """An index and the model that its vectors are of."""

    name: str
    index: "Index"
    engine: Engine


class Shelf:
    """Open indexes by name."""

    def __init__(self, files: Mapping[str, Path], engines: Mapping[str, Engine]) -> None:
        """Open indexes.

        :param files: name -> file
        :param engines: the models that are served
        :raises CatalogError: if one cannot be used, or is of no model that is served
        """
        self._thread = ThreadPoolExecutor(1, thread_name_prefix="babelclip-index")
        opened = {name: self._thread.submit(_open, name, file, engines) for name, file in files.items()}
        self.mounted = {name: future.result() for name, future in opened.items()}
        self._searched: set[str] = set()
        self._refreshes: dict[str, Future[object]] = {}
        openers = {name: partial(_reopen, files[name], mounted.engine) for name, mounted in self.mounted.items()}
        self._maintenance = IndexMaintenance(openers, self._refresh)

    def start(self) -> None:
        """Start to maintain the graphs of the indexes in the background."""
        self._maintenance.start()

    def close(self) -> None:
        """Stop maintaining, and close the indexes."""
        self._maintenance.close()
        for mounted in self.mounted.values():
            self._thread.submit(mounted.index.close).result()
        self._thread.shutdown()

    def get(self, name: str | None) -> Mounted:
        """An index by name.

        :param name: None is the only one
        :return: the index
        :raises ApiError: 404, if there is none of that name; 400, if there are several and none is named
        """
        if name is None and len(self.mounted) == 1:
            return next(iter(self.mounted.values()))
        known = ", ".join(self.mounted) or "none"
        if name is None and self.mounted:
            raise ApiError(400, f"there are several indexes, name one: {known}", param="index")
        if name is None or name not in self.mounted:
            message = f"there is no index {name!r} here" if name else "no index is mounted here"
            raise ApiError(404, f"{message}; mounted are: {known}", code="index_not_found", param="index")
        return self.mounted[name]

    async def ask(self, mounted: Mounted, function: Callable[["Index"], Result]) -> Result:
        """Ask an index something, in the thread that uses them all.

        :param mounted: the index
        :param function: what to do with it
        :return: what it gave
        """
        self._searched.add(mounted.name)
        return await asyncio.get_running_loop().run_in_executor(self._thread, function, mounted.index)

    def _refresh(self, name: str) -> None:
        """Let an index adopt a newer graph before its next search; one that was never searched stays unread."""
        last = self._refreshes.get(name)
        if name in self._searched and (last is None or last.done()):
            self._refreshes[name] = self._thread.submit(self.mounted[name].index.searcher.refresh)


def _reopen(file: Path, engine: Engine) -> "Index":
    """Open an index once more, for another thread."""
    from babelclip.search.index import Index

    return Index.open(file, engine.model, create=False)


def _open(name: str, file: Path, engines: Mapping[str, Engine]) -> Mounted:
    """The index, with the first model that it is of; what searches is imported only where there is one."""
    from babelclip.search.index import Index

    if not file.expanduser().is_file():
        raise ModelMismatchError(f"index {name}: there is no file {file}; babelclip index makes one")
    last: ModelMismatchError | None = None
    for engine in engines.values():
        try:
            return Mounted(name, Index.open(file, engine.model), engine)
        except ModelMismatchError as error:
            last = error
    raise last or ModelMismatchError(f"index {name}: no model is served")
