"""Files that may be gzipped."""

import gzip
import zlib
from pathlib import Path


def read_unzipped(path: Path) -> bytes:
    """The content of a file, unzipped where its name ends in .gz.

    :param path: the file
    :return: its bytes; OSError and EOFError where it is missing or damaged
    """
    content = path.read_bytes()
    try:
        return gzip.decompress(content) if path.suffix == ".gz" else content
    except zlib.error as error:
        raise gzip.BadGzipFile(f"{path}: {error}") from None
