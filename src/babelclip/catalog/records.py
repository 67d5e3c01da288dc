"""Records of a catalog: photos, contents and the state of files."""

from dataclasses import dataclass

from babelclip.media.metadata import Metadata
from babelclip.vectors import FloatArray


@dataclass(frozen=True, slots=True)
class Photo:
    """A file as the scan read it: absolute path, size in bytes, time of change in nanoseconds, sha256 of its content.

    ``hash`` is None where the file could not be read, and ``error`` says why. ``sidecar_ns`` is the time of change of
    the XMP file beside it, 0 without one. A member of an archive has the archive's time of change.
    """

    path: str
    size: int
    mtime_ns: int
    hash: bytes | None
    error: str | None = None
    sidecar_ns: int = 0


@dataclass(frozen=True, slots=True)
class ContentRecord:
    """The result for one content: its vectors and metadata, or the error.

    ``vector`` is float32 (d,) for a picture and (n, d) for a video, unit rows; ``at_ms`` are the n times of its frames.
    """

    hash: bytes
    vector: FloatArray | None
    error: str | None = None
    metadata: Metadata | None = None
    at_ms: tuple[int, ...] = ()


@dataclass(frozen=True, slots=True)
class FileState:
    """State of a file in the catalog: size in bytes, times of change in ns, and its metadata's version."""

    size: int
    mtime_ns: int
    sidecar_ns: int
    metadata_version: int
