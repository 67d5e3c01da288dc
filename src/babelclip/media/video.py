"""Frames of a video at even times, through PyAV (extra ``video``)."""

from collections.abc import Iterator
from importlib.util import find_spec
from typing import TYPE_CHECKING

from PIL import Image

from babelclip.errors import ImageError, MissingDependencyError
from babelclip.media.metadata import Metadata, iso_time

if TYPE_CHECKING:
    from av.container import InputContainer
    from av.video.frame import VideoFrame
    from av.video.stream import VideoStream

EVERY_SECONDS = 5.0
MAX_FRAMES = 2000
"""In a longer video the frames are further apart."""
SEEK_FROM_SECONDS = 4.0
"""From this distance on, seeking to a key frame is cheaper than decoding the frames in between."""
HALF_MS = 0.0005
SHORT_SIDE = 448
"""Frames are scaled down to it: twice the input of the towers, and bounded memory at any video size."""


def missing() -> str | None:
    """Check for the package that reads videos.

    :return: a message with the install line; None if it is installed
    """
    return None if find_spec("av") else str(MissingDependencyError("av", extra="video"))


def read_video_metadata(path: str) -> Metadata:
    """Read the metadata of a video; empty for a damaged file.

    :param path: the file
    :return: its metadata
    """
    import av

    try:
        with av.open(path) as opened:
            stream = opened.streams.video[0]
            frame = next(opened.decode(stream))
            size = (frame.height, frame.width) if frame.rotation % 180 else (frame.width, frame.height)
            clock = opened.metadata.get("creation_time") or stream.metadata.get("creation_time")
            length = round(opened.duration / 1000) if opened.duration else None
            return Metadata(
                width=size[0],
                height=size[1],
                taken_at=iso_time(clock),
                duration_ms=length,
                kind="video",
            )
    except (av.FFmpegError, OSError, ValueError, IndexError, StopIteration):
        return Metadata(kind="video")


def frames(path: str, every_seconds: float = EVERY_SECONDS) -> Iterator[tuple[int, Image.Image]]:
    """Read frames of a video at even times, from its beginning.

    A truncated or damaged video gives the frames before the damage.

    :param path: the file
    :param every_seconds: the time between two frames
    :yield: the time in ms, and the frame: RGB, upright, its short side at most SHORT_SIDE
    :raises ImageError: if it gives no frame at all, or PyAV is not installed
    """
    if problem := missing():
        raise ImageError(f"{path}: {problem}")
    import av

    given = 0
    try:
        with av.open(path) as opened:
            stream = opened.streams.video[0]
            stream.thread_type = "AUTO"
            length = opened.duration / av.time_base if opened.duration else 0.0
            step = max(every_seconds, length / MAX_FRAMES)
            for at, frame in _sampled(opened, stream, step):
                yield round(at * 1000), _upright(frame)
                given += 1
    except (av.FFmpegError, OSError, ValueError, IndexError) as error:
        if not given:
            raise ImageError(f"{path}: not a video that can be read: {_said(error)}") from None
    if not given:
        raise ImageError(f"{path}: the video has no frames")


def frame_at(path: str, at_ms: int) -> Image.Image:
    """Read one frame of a video.

    :param path: the file
    :param at_ms: its time, as ``frames`` gives it
    :return: RGB, upright, its short side at most SHORT_SIDE; the last one where the video is shorter
    :raises ImageError: if the video cannot be read, or PyAV is not installed
    """
    if problem := missing():
        raise ImageError(f"{path}: {problem}")
    import av

    shown: VideoFrame | None = None
    try:
        with av.open(path) as opened:
            for frame in _up_to(opened, opened.streams.video[0], at_ms / 1000):
                shown = frame
    except (av.FFmpegError, OSError, ValueError, IndexError) as error:
        if shown is None:
            raise ImageError(f"{path}: not a video that can be read: {_said(error)}") from None
    if shown is None:
        raise ImageError(f"{path}: the video has no frames")
    return _upright(shown)


def _up_to(opened: "InputContainer", stream: "VideoStream", seconds: float) -> "Iterator[VideoFrame]":
    """Decode the first frame, then frames from a key frame near a time up to that time."""
    begin = 0.0
    for first in opened.decode(stream):
        yield first
        begin = first.time or 0.0
        break
    if stream.time_base and seconds:
        opened.seek(int((begin + seconds) / stream.time_base), stream=stream)
        for frame in opened.decode(stream):
            yield frame
            if frame.time is not None and frame.time - begin >= seconds - HALF_MS:
                return


def _said(error: Exception) -> str:
    """Message of an error, without the path that FFmpeg adds."""
    if isinstance(error, IndexError):
        return "it has no pictures"
    return getattr(error, "strerror", None) or str(error)


def _sampled(opened: "InputContainer", stream: "VideoStream", step: float) -> "Iterator[tuple[float, VideoFrame]]":
    """Decode the first frame at or after each multiple of a time step, with its time from the beginning."""
    begin: float | None = None
    target = 0.0
    while True:
        if begin is not None and step >= SEEK_FROM_SECONDS and stream.time_base:
            opened.seek(int((begin + target) / stream.time_base), stream=stream)
        for frame in opened.decode(stream):
            if frame.time is None:
                continue
            begin = frame.time if begin is None else begin
            if frame.time - begin >= target - 1e-6:
                yield frame.time - begin, frame
                target = max(target + step, (frame.time - begin) // step * step + step)
                if step >= SEEK_FROM_SECONDS:
                    break
        else:
            return


def _upright(frame: "VideoFrame") -> Image.Image:
    """Convert a frame to an upright image, scaled down."""
    scale = min(1.0, SHORT_SIDE / min(frame.width, frame.height))
    size = round(frame.width * scale), round(frame.height * scale)
    image = Image.fromarray(frame.to_ndarray(width=size[0], height=size[1], format="rgb24"))
    return image.rotate(frame.rotation, expand=True) if frame.rotation else image
