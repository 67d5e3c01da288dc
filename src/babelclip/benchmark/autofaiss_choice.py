"""The index that autofaiss chooses (as clip-retrieval asks it to), measured by an interpreter that has autofaiss.

It is run as a file, since babelclip is not installed there: ``python autofaiss_choice.py FOLDER``. The folder holds
``vectors/*.npy`` and ``queries.npy``, float32; ``found.npy`` is written into it, int64, and what was measured is
printed as the last line, JSON.
"""

import json
import resource
import sys
import time
from pathlib import Path
from typing import Any

import numpy as np

K = 10
MEMORY, AVAILABLE = "4G", "16G"
"""What clip-retrieval lets an index take, and the building of it."""


def main(folder: Path) -> None:
    """Let autofaiss build its index, ask it one query after the other, print what was measured.

    :param folder: holds the vectors and the queries
    """
    import faiss as typed_faiss
    from autofaiss import build_index  # type: ignore[import-not-found, unused-ignore]

    faiss: Any = typed_faiss
    file = folder / "knn.index"
    start = time.perf_counter()
    _, told = build_index(
        embeddings=str(folder / "vectors"),
        index_path=str(file),
        index_infos_path=str(folder / "infos.json"),
        max_index_memory_usage=MEMORY,
        current_memory_available=AVAILABLE,
        metric_type="ip",
        verbose=40,
    )
    built = time.perf_counter() - start
    before = resident_mib()
    index = faiss.read_index(str(file))
    faiss.ParameterSpace().set_index_parameters(index, told["index_param"])
    queries = np.load(folder / "queries.npy")
    for query in queries[:20]:
        index.search(query[None], K)
    found, seconds = [], []
    for query in queries:
        start = time.perf_counter()
        found.append(index.search(query[None], K)[1][0])
        seconds.append(time.perf_counter() - start)
    np.save(folder / "found.npy", np.stack(found))
    measured = {
        "method": f"autofaiss: {told['index_key']}, {told['index_param']}",
        "build_seconds": built,
        "p50_ms": 1000 * float(np.median(seconds)),
        "p95_ms": 1000 * float(np.quantile(seconds, 0.95)),
        "resident_mib": resident_mib() - before,
        "file_mib": file.stat().st_size / 2**20,
    }
    sys.stdout.write(json.dumps(measured) + "\n")


def resident_mib() -> float:
    """The memory of this process that is resident now.

    :return: MiB
    """
    return int(Path("/proc/self/statm").read_text().split()[1]) * resource.getpagesize() / 2**20


if __name__ == "__main__":
    main(Path(sys.argv[1]))
