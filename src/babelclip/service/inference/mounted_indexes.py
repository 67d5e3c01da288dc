"""Mounted indexes: one thread searches them all, since an index is used from one thread at a time.

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
from babelclip.service.inference.worker import InferenceWorker

if TYPE_CHECKING:
    from babelclip.search.index import Index

Result = TypeVar("Result")


@dataclass(frozen=True, slots=True)
class MountedIndex:
    """An index and the worker of the model of its vectors."""

    name: str
    index: "Index"
    worker: InferenceWorker


class MountedIndexes:
    """Open indexes by name."""

    def __init__(self, files: Mapping[str, Path], workers: Mapping[str, InferenceWorker]) -> None:
        """Open indexes.

        :param files: name -> file
        :param workers: the inference workers of the service
        :raises CatalogError: if an index cannot be used, or no model of the service fits it
        """
        self._thread = ThreadPoolExecutor(1, thread_name_prefix="babelclip-index")
        opened = {name: self._thread.submit(_open, name, file, workers) for name, file in files.items()}
        self.mounted = {name: future.result() for name, future in opened.items()}
        self._searched: set[str] = set()
        self._refreshes: dict[str, Future[object]] = {}
        openers = {name: partial(_reopen, files[name], mounted.worker) for name, mounted in self.mounted.items()}
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

    def get(self, name: str | None) -> MountedIndex:
        """Look up an index by name.

        :param name: name of the index; None for the only one
        :return: the index
        :raises ApiError: 404, if there is no such index; 400, if there are several and ``name`` is None
        """
        if name is None and len(self.mounted) == 1:
            return next(iter(self.mounted.values()))
        known = ", ".join(self.mounted) or "none"
        if name is None and self.mounted:
            raise ApiError(400, f"several indexes are mounted; set index to one of: {known}", param="index")
        if name is None or name not in self.mounted:
            message = f"the index {name!r} is not mounted" if name else "no index is mounted here"
            raise ApiError(404, f"{message}; mounted indexes: {known}", code="index_not_found", param="index")
        return self.mounted[name]

    async def run(self, mounted: MountedIndex, function: Callable[["Index"], Result]) -> Result:
        """Call a function with an index, in the thread that searches all indexes.

        :param mounted: the index
        :param function: the function
        :return: its result
        """
        self._searched.add(mounted.name)
        return await asyncio.get_running_loop().run_in_executor(self._thread, function, mounted.index)

    def _refresh(self, name: str) -> None:
        """Let an index adopt a newer graph before its next search, unless it was never searched."""
        last = self._refreshes.get(name)
        if name in self._searched and (last is None or last.done()):
            self._refreshes[name] = self._thread.submit(self.mounted[name].index.searcher.refresh)


def _reopen(file: Path, worker: InferenceWorker) -> "Index":
    """Open an index once more, for another thread."""
    from babelclip.search.index import Index

    return Index.open(file, worker.model, create=False)


def _open(name: str, file: Path, workers: Mapping[str, InferenceWorker]) -> MountedIndex:
    """Open an index with the first model that fits it; the search package is imported only if an index is mounted."""
    from babelclip.search.index import Index

    if not file.expanduser().is_file():
        raise ModelMismatchError(f"index {name}: there is no file {file}; babelclip index makes one")
    last: ModelMismatchError | None = None
    for worker in workers.values():
        try:
            return MountedIndex(name, Index.open(file, worker.model), worker)
        except ModelMismatchError as error:
            last = error
    raise last or ModelMismatchError(f"index {name}: no model is served")
