"""Files that tests make: videos, a RAW picture, archives of photos."""

import struct
import tarfile
import zipfile
from pathlib import Path

import av
import numpy as np


def make_video(path: Path, *, seconds: int = 12, rate: int = 10, key_every: int = 50, rotate: int = 0) -> None:
    """A video whose second i is grey of 20 i, with a red corner at the upper left."""
    with av.open(str(path), "w") as out:
        stream = out.add_stream("mpeg4", rate=rate)
        stream.width, stream.height, stream.pix_fmt = 160, 96, "yuv420p"
        stream.codec_context.gop_size = key_every
        if rotate:
            stream.set_display_rotation(rotate)
        for i in range(seconds * rate):
            frame = np.full((96, 160, 3), i // rate * 20, np.uint8)
            frame[:24, :24] = (255, 0, 0)
            out.mux(stream.encode(av.VideoFrame.from_ndarray(frame, format="rgb24")))
        out.mux(stream.encode())


def make_raw(path: Path, *, orientation: int = 1, red_rows: int = 480) -> None:
    """A DNG without a preview: a mosaic of 640 x 480 whose upper rows are bright red (Adobe DNG 1.4)."""
    width, height = 640, 480
    mosaic = np.zeros((height, width), "<u2")
    mosaic[0:red_rows:2, 0::2] = 60000
    formats = {1: "B", 3: "H", 4: "I", 5: "I", 10: "i"}
    identity = [1, 1, 0, 1, 0, 1, 0, 1, 1, 1, 0, 1, 0, 1, 0, 1, 1, 1]
    tags: list[tuple[int, int, bytes | list[int]]] = [
        (254, 4, [0]),
        (256, 4, [width]),
        (257, 4, [height]),
        (258, 3, [16]),
        (259, 3, [1]),
        (262, 3, [32803]),
        (271, 2, b"Test\0"),
        (272, 2, b"Test One\0"),
        (273, 4, [0]),
        (274, 3, [orientation]),
        (277, 3, [1]),
        (278, 4, [height]),
        (279, 4, [mosaic.nbytes]),
        (306, 2, b"2024:07:31 18:05:09\0"),
        (33421, 3, [2, 2]),
        (33422, 1, [0, 1, 1, 2]),
        (50706, 1, [1, 4, 0, 0]),
        (50708, 2, b"Test One\0"),
        (50717, 4, [65535]),
        (50721, 10, identity),
        (50728, 5, [1, 1] * 3),
        (50778, 3, [21]),
    ]
    packed = [
        (code, kind, value if isinstance(value, bytes) else struct.pack(f"<{len(value)}{formats[kind]}", *value))
        for code, kind, value in tags
    ]
    sizes = {1: 1, 2: 1, 3: 2, 4: 4, 5: 8, 10: 8}
    heap_at = 8 + 2 + 12 * len(packed) + 4
    pixels_at = heap_at + sum(len(data) for *_, data in packed if len(data) > 4)
    directory, heap = b"", b""
    for code, kind, data in packed:
        where = struct.pack("<I", heap_at + len(heap)) if len(data) > 4 else data.ljust(4, b"\0")
        if len(data) > 4:
            heap += data
        where = struct.pack("<I", pixels_at) if code == 273 else where
        directory += struct.pack("<HHI", code, kind, len(data) // sizes[kind]) + where
    head = b"II*\0" + struct.pack("<IH", 8, len(packed))
    path.write_bytes(head + directory + b"\0\0\0\0" + heap + mosaic.tobytes())


def zipped(archive: Path, photos: Path) -> None:
    """Photos and what else lies in a ZIP file."""
    files = sorted(photos.rglob("[a-e].*"))
    with zipfile.ZipFile(archive, "w") as out:
        for path in files:
            out.write(path, f"trip/{path.name}")
        out.writestr("__MACOSX/._a.jpg", b"no picture")
        out.writestr("notes.txt", b"no picture")


def tarred(archive: Path, photos: Path) -> None:
    """Photos in a TAR file, packed where its name says so."""
    with tarfile.open(archive, "w:gz" if archive.name.endswith("gz") else "w") as out:
        for path in sorted(photos.rglob("[a-e].*")):
            out.add(path, f"./trip/{path.name}")
