"""Facts of a photo that its bytes and its sidecar state: size, time, place, camera, caption, keywords."""

from dataclasses import dataclass
from typing import Literal

FACTS_VERSION = 1
"""Raised when more is read, so that the next indexing reads what older versions have left out."""


@dataclass(frozen=True, slots=True)
class Facts:
    """What a photo or video says of itself; None and empty mean that it says nothing.

    ``width`` and ``height`` are of the upright picture, ``taken_at`` is ISO 8601 without a zone, as the camera's clock
    had it ("2024-07-31T18:05:09"), ``latitude`` and ``longitude`` are degrees, north and east positive.
    """

    width: int | None = None
    height: int | None = None
    taken_at: str | None = None
    latitude: float | None = None
    longitude: float | None = None
    camera: str | None = None
    caption: str | None = None
    keywords: tuple[str, ...] = ()
    kind: Literal["image", "video"] = "image"
    duration_ms: int | None = None
