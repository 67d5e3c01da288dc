"""The indexes that the operator mounts. One thread uses them all, since an index is used from one at a time."""

import asyncio
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import TypeVar

from babelclip.errors import ModelMismatchError
from babelclip.search import Hit, Index
from babelclip.service.engine import Engine
from babelclip.service.errors import ApiError
from babelclip.vectors import FloatArray

Result = TypeVar("Result")


@dataclass(frozen=True, slots=True)
class Mounted:
    """An index and the model that its vectors are of."""

    name: str
    index: Index
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

    def close(self) -> None:
        """Close the indexes."""
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

    async def nearest(
        self, mounted: Mounted, rows: FloatArray, weights: Sequence[float], k: int, where: str | None, text: str | None
    ) -> list[Hit]:
        """The photos nearest to a query.

        :param mounted: the index
        :param rows: float32 (n, d), unit rows, of its parts
        :param weights: of the parts
        :param k: how many
        :param where: a filter
        :param text: the query, where it is a text alone
        :return: the nearest first
        :raises InputError: if the filter cannot be read
        """

        def work() -> list[Hit]:
            vector = mounted.index.combined(rows, weights)
            return mounted.index.nearest(vector, k, where=where, text=text)

        return await self._run(work)

    async def count(self, mounted: Mounted) -> int:
        """How many photos an index holds.

        :param mounted: the index
        :return: the photos
        """
        return await self._run(lambda: len(mounted.index))

    async def contents(self, mounted: Mounted, paths: Sequence[str]) -> dict[str, str]:
        """The names that the service gives to photos: the sha256 of what they hold.

        :param mounted: the index
        :param paths: of the photos
        :return: 64 hexadecimal digits by path
        """
        found = await self._run(lambda: mounted.index.contents_of(paths))
        return {path: content.hex() for path, content in found.items()}

    async def files(self, mounted: Mounted, content: str) -> list[str]:
        """The files of an index that hold a content.

        :param mounted: the index
        :param content: 64 hexadecimal digits
        :return: their paths
        """
        return await self._run(lambda: mounted.index.files_of(bytes.fromhex(content)))

    async def _run(self, function: Callable[[], Result]) -> Result:
        return await asyncio.get_running_loop().run_in_executor(self._thread, function)


def _open(name: str, file: Path, engines: Mapping[str, Engine]) -> Mounted:
    """The index, with the first model that it is of."""
    if not file.expanduser().is_file():
        raise ModelMismatchError(f"index {name}: there is no file {file}; babelclip index makes one")
    last: ModelMismatchError | None = None
    for engine in engines.values():
        try:
            return Mounted(name, Index.open(file, engine.model), engine)
        except ModelMismatchError as error:
            last = error
    raise last or ModelMismatchError(f"index {name}: no model is served")
