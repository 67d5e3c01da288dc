"""Settings from the environment, read once. Every one of them is listed in docs/reference/settings.md."""

import os
from dataclasses import dataclass
from functools import cache
from pathlib import Path

from platformdirs import user_data_path

from babelclip.errors import InputError

_STORES = ("BABELCLIP_DATABASE_URL", "BABELCLIP_LIMITS_URL")


@dataclass(frozen=True, slots=True)
class Settings:
    """What the environment says.

    ``home`` holds pulled models and the default index. ``threads`` 0 means: as many as the runtime likes.
    ``cache_bytes`` is how much of the disk compiled towers may take, 0 for none.
    ``reduced_decoding`` lets a JPEG that is much larger than what a tower reads be decoded at a part of its size.
    ``max_image_bytes`` and ``max_image_pixels`` are the limits above which a picture is refused.
    """

    home: Path
    runtime: str
    threads: int
    max_image_bytes: int
    max_image_pixels: int
    cache_bytes: int
    reduced_decoding: bool

    @property
    def models(self) -> Path:
        """The folder of pulled models."""
        return self.home / "models"

    @property
    def compiled(self) -> Path:
        """The folder of compiled towers; all of it can be deleted."""
        return self.home / "compiled"

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


def _switch(name: str, *, default: bool) -> bool:
    """0 or 1 from the environment, or the default."""
    raw = os.environ.get(name, "")
    if raw not in ("", "0", "1"):
        raise InputError(f"{name}={raw!r} is neither 0 nor 1")
    return raw == "1" if raw else default


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
        cache_bytes=2**20 * _whole_number("BABELCLIP_CACHE_MIB", 4096, least=0),
        reduced_decoding=_switch("BABELCLIP_REDUCED_DECODING", default=True),
    )


def environment_of(home: Path) -> dict[str, str]:
    """The environment for another process that has a data folder of its own.

    :param home: its data folder
    :return: this process's environment otherwise, without the service's stores
    """
    kept = {name: value for name, value in os.environ.items() if name not in _STORES}
    return {**kept, "BABELCLIP_HOME": str(home)}


@dataclass(frozen=True, slots=True)
class ServiceSettings:
    """What the environment says of the service.

    ``database_url`` is SQLAlchemy's; "" is a SQLite file in the home folder. ``limits_url`` is that of the rate limits:
    ``memory://`` or ``redis://...``. ``prices`` is read by service.metering.prices. ``image_urls`` is ``off``,
    ``public`` or hosts, separated by commas. ``request_seconds`` is how long a request may wait and run.
    """

    database_url: str
    limits_url: str
    prices: str
    image_urls: str
    cors_origins: tuple[str, ...]
    open_metrics: bool
    max_body_bytes: int
    max_upload_pixels: int
    max_queue_tokens: int
    max_connections: int
    request_seconds: int


@cache
def service_settings() -> ServiceSettings:
    """The settings of the service in this process.

    :return: what the environment said at the first call
    :raises InputError: if a variable holds something that is not what it must be
    """
    database = os.environ.get("BABELCLIP_DATABASE_URL", "") or f"sqlite:///{settings().home / 'service.db'}"
    origins = os.environ.get("BABELCLIP_CORS_ORIGINS", "").split(",")
    return ServiceSettings(
        database_url=database,
        limits_url=os.environ.get("BABELCLIP_LIMITS_URL", "") or "memory://",
        prices=os.environ.get("BABELCLIP_PRICES", ""),
        image_urls=os.environ.get("BABELCLIP_IMAGE_URLS", "") or "off",
        cors_origins=tuple(origin.strip() for origin in origins if origin.strip()),
        open_metrics=_whole_number("BABELCLIP_OPEN_METRICS", 0, least=0) > 0,
        max_body_bytes=_whole_number("BABELCLIP_MAX_BODY_BYTES", 32 * 2**20, least=1),
        max_upload_pixels=_whole_number("BABELCLIP_MAX_UPLOAD_PIXELS", 50_000_000, least=1),
        max_queue_tokens=_whole_number("BABELCLIP_MAX_QUEUE_TOKENS", 2**20, least=1),
        max_connections=_whole_number("BABELCLIP_MAX_CONNECTIONS", 1000, least=1),
        request_seconds=_whole_number("BABELCLIP_REQUEST_SECONDS", 60, least=1),
    )


def keep_ray_from_reporting() -> None:
    """Tell Ray, before it starts, not to send usage statistics anywhere; a choice that is set already stays."""
    os.environ.setdefault("RAY_USAGE_STATS_ENABLED", "0")


def bound_onednn(primitives: int) -> None:
    """Tell oneDNN, before it makes its first primitive, how many to keep; a choice that is set already stays.

    :param primitives: how many
    """
    os.environ.setdefault("ONEDNN_PRIMITIVE_CACHE_CAPACITY", str(primitives))
