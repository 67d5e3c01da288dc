"""Compiled cache: the first process that runs a tower compiles it, later processes map the compiled file.

HOME/compiled/TOWER-KEY.blob is the runtime's output followed by 20 bytes: MAGIC, the length of the output, and its
CRC-32. The key is a digest of everything that the output depends on. A file that cannot be used is compiled again, a
file that cannot be written is left out, and the least recently used files are deleted first.
"""

import hashlib
import json
import mmap
import os
import shutil
import struct
import tempfile
import time
import zlib
from collections.abc import Callable, Iterable, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from babelclip.errors import ModelError
from babelclip.models.precision import PrecisionPlan
from babelclip.runtimes import CachingRuntime, Runtime, Session
from babelclip.settings import settings
from babelclip.vectors import FloatArray
from babelclip.version import __version__

if TYPE_CHECKING:
    import onnx

MAGIC = b"bclpcmp1"
_TRAILER = struct.Struct("<8sQI")
_SUFFIX = ".blob"
_UNFINISHED, _LEFT_AFTER_SECONDS = "new-", 86400
_BYTES_AT_ONCE = 2**22
FIRST_RUNS = 4
"""Of a tower: in these the engine may still lay out weights from the mapped file, as for one picture, then for two."""
GRAPH_CODE = tuple(Path(__file__).parents[1] / part for part in ("graphs", "checkpoints/weights.py"))
"""What writes graphs: another version of it writes others, so its files are a part of the key."""

Build = Callable[[Path | None], "onnx.ModelProto"]
"""Gives the graph; its weights go to the file where one is given."""


def compile_tower(
    runtime: Runtime, build: Build, tower: str, sources: Iterable[Path], *, plan: PrecisionPlan, threads: int
) -> Session:
    """Open a compiled tower from the cache, or compile it and add it to the cache.

    :param runtime: the engine
    :param build: gives the graph; not called where a compiled tower is here
    :param tower: "text" or "image"
    :param sources: the folders and files that the graph is made of
    :param plan: the precision of its layers
    :param threads: threads of the runtime, or 0 for its default
    :return: the compiled tower
    :raises ModelError: if it cannot be built or compiled
    """
    if isinstance(runtime, CachingRuntime) and settings().cache_bytes:
        key = (
            __version__,
            runtime.identity(),
            tower,
            plan.name,
            plan.rest,
            threads,
            _state([*sources, *GRAPH_CODE]),
        )
        path = settings().compiled / f"{tower}-{hashlib.sha256(json.dumps(key).encode()).hexdigest()[:32]}{_SUFFIX}"
        session = _opened(runtime, path, plan, threads)
        if session is None and _make(runtime, build, path, plan, threads):
            session = _opened(runtime, path, plan, threads)
        if session is not None:
            return session
    return runtime.compile(build(None), precision=plan.rest, threads=threads)


class _Mapped:
    """A tower over a mapped file. The engine has its own copy of most weights, made while it opens the file and at the
    first runs; so the pages are given back after these, and what is still read comes back page by page.
    """

    def __init__(self, session: Session, content: mmap.mmap) -> None:
        self._session = session
        self._content = content
        self._runs = 0
        _give_back(content)

    def run(self, inputs: Mapping[str, NDArray[Any]]) -> FloatArray:
        """As Session.run."""
        output = self._session.run(inputs)
        if self._runs < FIRST_RUNS:
            self._runs += 1
            _give_back(self._content)
        return output


def _give_back(content: mmap.mmap) -> None:
    """Let the pages of a mapped file that was not written to leave memory, where the system can."""
    if hasattr(content, "madvise"):
        content.madvise(mmap.MADV_DONTNEED)


def _state(sources: Iterable[Path]) -> list[tuple[str, int, int]]:
    """The path, size and time of change of every file: quicker to read than the content."""
    files = [file for path in sources for file in (path.rglob("*") if path.is_dir() else (path,))]
    kept = sorted(file.absolute() for file in files if file.is_file() and "__pycache__" not in file.parts)
    return [(str(file), (state := file.stat()).st_size, state.st_mtime_ns) for file in kept]


def _opened(keeper: CachingRuntime, path: Path, plan: PrecisionPlan, threads: int) -> Session | None:
    """Open a cached tower; None if the file is missing or damaged, or the runtime refuses it."""
    content = read_sealed(path)
    if content is None:
        return None
    array = np.frombuffer(content, dtype=np.uint8, count=len(content) - _TRAILER.size)
    try:
        return _Mapped(keeper.open_compiled(array, precision=plan.rest, threads=threads), content)
    except ModelError:
        return None


def read_sealed(path: Path) -> mmap.mmap | None:
    """Map a file that ``seal`` wrote.

    :param path: the file
    :return: its content and trailer, or None if it is missing, cut short or changed
    """
    try:
        with path.open("rb") as file:
            content = mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_COPY)
        os.utime(path)
    except (OSError, ValueError):
        return None
    length = len(content) - _TRAILER.size
    if length <= 0:
        return None
    with memoryview(content) as view:
        trailer = _TRAILER.unpack(view[length:])
        return content if trailer == (MAGIC, length, zlib.crc32(view[:length])) else None


def _make(keeper: CachingRuntime, build: Build, path: Path, plan: PrecisionPlan, threads: int) -> bool:
    """Compile a tower into its file, complete or not at all; whether that was possible."""
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryDirectory(dir=path.parent, prefix=_UNFINISHED) as scratch:
            made, cache = Path(scratch) / "made", Path(scratch) / "cache"
            made.mkdir()
            cache.mkdir()
            graph = build(made / "weights")
            (made / "graph.onnx").write_bytes(graph.SerializeToString())
            del graph
            written, start = keeper.precompile(made / "graph.onnx", cache, precision=plan.rest, threads=threads)
            shutil.rmtree(made)
            seal(written, start, cache / "sealed")
            written.unlink()
            size = (cache / "sealed").stat().st_size
            if size > settings().cache_bytes:
                return False
            _make_room(path.parent, size)
            (cache / "sealed").replace(path)
    except OSError:
        return False
    return True


def seal(source: Path, start: int, target: Path) -> None:
    """Copy a file and append the trailer: MAGIC, length and checksum.

    :param source: the file to copy
    :param start: the offset in bytes from which it is copied
    :param target: the file to write
    """
    check = length = 0
    with source.open("rb") as old, target.open("wb") as new:
        old.seek(start)
        while part := old.read(_BYTES_AT_ONCE):
            new.write(part)
            check, length = zlib.crc32(part, check), length + len(part)
        new.write(_TRAILER.pack(MAGIC, length, check))
        new.flush()
        os.fsync(new.fileno())
        # Pages as they were written are up to 2 MiB large, and a row of the word table maps a whole one; those that are
        # read anew are small.
        if hasattr(os, "posix_fadvise"):
            os.posix_fadvise(new.fileno(), 0, 0, os.POSIX_FADV_DONTNEED)


def _make_room(folder: Path, needed: int) -> None:
    """Delete the least recently used files until the limit holds; other processes may delete files meanwhile."""
    for left in folder.glob(f"{_UNFINISHED}*"):
        if time.time() - left.stat().st_mtime > _LEFT_AFTER_SECONDS:
            shutil.rmtree(left, ignore_errors=True)
    files = []
    for file in folder.glob(f"*{_SUFFIX}"):
        try:
            state = file.stat()
            files.append((state.st_mtime_ns, state.st_size, file))
        except OSError:
            continue
    total = needed + sum(size for _, size, _ in files)
    for _, size, file in sorted(files):
        if total <= settings().cache_bytes:
            return
        try:
            file.unlink(missing_ok=True)
        except OSError:
            continue
        total -= size
