"""The index that autofaiss chooses (as clip-retrieval asks it to), measured by an interpreter that has autofaiss.

It is run as a file, since babelclip is not installed there: ``python autofaiss_choice.py build FOLDER``, then ``ask``,
so that what building took is not counted as what the index takes. The folder holds ``vectors/*.npy`` and
``queries.npy``, float32; ``found.npy`` is written into it, int64. What was measured is printed as the last line, JSON.
"""

import json
import resource
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np

K = 10
INDEX, EFFORT = "knn.index", "effort.txt"
FOUND, SECONDS = "found.npy", "seconds.npy"
MEMORY, AVAILABLE = "4G", "16G"
"""What clip-retrieval lets an index take, and the building of it."""


def build(folder: Path) -> dict[str, object]:
    """Let autofaiss build its index.

    :param folder: holds the vectors
    :return: what it chose, and what it took
    """
    from autofaiss import build_index  # type: ignore[import-not-found, unused-ignore]

    start = time.perf_counter()
    _, told = build_index(
        embeddings=str(folder / "vectors"),
        index_path=str(folder / INDEX),
        index_infos_path=str(folder / "infos.json"),
        max_index_memory_usage=MEMORY,
        current_memory_available=AVAILABLE,
        metric_type="ip",
        verbose=40,
    )
    built = time.perf_counter() - start
    (folder / EFFORT).write_text(told["index_param"])
    return {
        "method": f"autofaiss: {told['index_key']}, {told['index_param']}",
        "build_seconds": built,
        "file_mib": (folder / INDEX).stat().st_size / 2**20,
    }


def ask(folder: Path) -> dict[str, object]:
    """Ask the index one query after the other.

    :param folder: holds the index and the queries
    :return: MiB that the open index takes; what was found and the seconds of each query are left in the folder
    """
    import faiss as typed_faiss

    faiss: Any = typed_faiss
    before = resident_mib()
    index = faiss.read_index(str(folder / INDEX))
    faiss.ParameterSpace().set_index_parameters(index, (folder / EFFORT).read_text())
    queries = np.load(folder / "queries.npy")
    found, seconds = timed(lambda query: index.search(query, K)[1][0], queries)
    np.save(folder / FOUND, np.stack(found))
    np.save(folder / SECONDS, seconds)
    return {"resident_mib": resident_mib() - before}


def timed(ask: Callable[[Any], Any], queries: Any) -> tuple[list[Any], Any]:
    """Answers to one query after the other, and what each took; some are asked before, so that files are read.

    :param ask: answers float32 (1, d)
    :param queries: float32 (n, d)
    :return: n answers, and float64 (n,) seconds
    """
    for query in queries[:20]:
        ask(query[None])
    found, seconds = [], []
    for query in queries:
        start = time.perf_counter()
        found.append(ask(query[None]))
        seconds.append(time.perf_counter() - start)
    return found, np.array(seconds)


def resident_mib() -> float:
    """The memory of this process that is resident now.

    :return: MiB
    """
    try:
        pages = int(Path("/proc/self/statm").read_text().split()[1])
    except OSError:
        return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
    return pages * resource.getpagesize() / 2**20


if __name__ == "__main__":
    measured = {"build": build, "ask": ask}[sys.argv[1]](Path(sys.argv[2]))
    sys.stdout.write(json.dumps(measured) + "\n")
