"""Settings from the environment, read once. Every one of them is listed in docs/settings.md."""

import os
from dataclasses import dataclass
from functools import cache
from pathlib import Path

from platformdirs import user_data_path

from babelclip.errors import InputError


@dataclass(frozen=True, slots=True)
class Settings:
    """What the environment says.

    ``home`` holds pulled models and the default index. ``threads`` 0 means: as many as the runtime likes.
    ``max_image_bytes`` and ``max_image_pixels`` are the limits above which a picture is refused.
    """

    home: Path
    runtime: str
    threads: int
    max_image_bytes: int
    max_image_pixels: int

    @property
    def models(self) -> Path:
        """The folder of pulled models."""
        return self.home / "models"

    @property
    def index(self) -> Path:
        """The index that commands use when none is named."""
        return self.home / "photos.bc"


def _whole_number(name: str, default: int, least: int) -> int:
    """A whole number from the environment, or its default."""
    raw = os.environ.get(name, "")
    if not raw:
        return default
    if not raw.isdecimal() or int(raw) < least:
        raise InputError(f"{name}={raw!r} is not a whole number of at least {least}")
    return int(raw)


@cache
def settings() -> Settings:
    """The settings of this process.

    :return: what the environment said at the first call
    :raises InputError: if a variable holds something that is not what it must be
    """
    home = os.environ.get("BABELCLIP_HOME", "")
    return Settings(
        home=Path(home).expanduser() if home else user_data_path("babelclip", appauthor=False),
        runtime=os.environ.get("BABELCLIP_RUNTIME", "") or "openvino",
        threads=_whole_number("BABELCLIP_THREADS", 0, least=0),
        max_image_bytes=_whole_number("BABELCLIP_MAX_IMAGE_BYTES", 256 * 2**20, least=1),
        max_image_pixels=_whole_number("BABELCLIP_MAX_IMAGE_PIXELS", 178_000_000, least=1),
    )
