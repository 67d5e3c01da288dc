"""Metadata of a photo, from its file and its sidecar: size, time, position, camera, caption, keywords.

Sources are EXIF, IPTC and XMP. If several state a field, the sidecar wins, then XMP, IPTC, EXIF. Damaged metadata is
ignored, and never an error.
"""

import re
import struct
from collections.abc import Callable, Iterable
from dataclasses import dataclass, fields, replace
from datetime import datetime
from typing import Any, Literal, TypeVar
from xml.etree.ElementTree import ParseError

from defusedxml import DefusedXmlException
from defusedxml.ElementTree import fromstring
from PIL import ExifTags, Image, ImageFile, IptcImagePlugin

METADATA_VERSION = 1
"""Increased when more fields are read, so that the next indexing run reads the metadata of known photos again."""
MAX_TEXT = 10_000
MAX_KEYWORDS = 500
MAX_XMP_BYTES = 4 * 2**20

METADATA_ERRORS = (
    OSError,
    SyntaxError,
    ParseError,
    DefusedXmlException,
    ValueError,
    TypeError,
    KeyError,
    IndexError,
    AttributeError,
    ArithmeticError,
    EOFError,
    RuntimeError,
    struct.error,
    MemoryError,
    Image.DecompressionBombError,
)
"""Errors that Pillow and the parsers raise on damaged metadata."""
_TIME = re.compile(r"(\d{4})[:-](\d\d)[:-](\d\d)(?:[T ](\d\d):(\d\d)(?::(\d\d))?)?")
_UTF8_MARK = b"\x1b%G"
_XP_KEYWORDS, _TIFF_XMP = 0x9C9E, 0x02BC
_IPTC_KEYWORDS, _IPTC_CAPTION, _IPTC_CHARSET = (2, 25), (2, 120), (1, 90)
_FIRST_TURNED = 5
"""The first of the EXIF orientations that swap width and height."""

Found = TypeVar("Found")


@dataclass(frozen=True, slots=True)
class Metadata:
    """Metadata of a photo or video; None and empty mean not stated.

    ``width`` and ``height`` are of the upright picture. ``taken_at`` is ISO 8601 without a zone, in the time of the
    camera's clock ("2024-07-31T18:05:09"). ``latitude`` and ``longitude`` are degrees, north and east positive.
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


NO_METADATA = Metadata()


def read_metadata(image: Image.Image, sidecar: bytes | None = None) -> Metadata:
    """Read the metadata of a picture, without decoding its pixels.

    :param image: an open picture
    :param sidecar: the bytes of the XMP file beside it
    :return: its metadata
    """
    exif = _spared(lambda: image.getexif()) or Image.Exif()
    turned = (_spared(lambda: int(exif.get(ExifTags.Base.Orientation, 1))) or 1) >= _FIRST_TURNED
    width, height = image.size[::-1] if turned else image.size
    sources = [
        _spared(lambda: parse_xmp(_embedded_xmp(image, exif))),
        _spared(lambda: _of_iptc(image)),
        _spared(lambda: _of_exif(exif)),
    ]
    return replace(merge_metadata(sources, sidecar), width=width, height=height)


def merge_metadata(sources: Iterable[Metadata | None], sidecar: bytes | None = None) -> Metadata:
    """Merge metadata of several sources: each field is taken from the first source that states it.

    :param sources: metadata, the most trusted source first
    :param sidecar: an XMP packet, trusted more than the sources
    :return: the merged metadata
    """
    chosen: dict[str, Any] = {}
    for source in (_spared(lambda: parse_xmp(sidecar or b"")), *sources):
        for field in fields(Metadata) if source else ():
            value = getattr(source, field.name)
            if value not in (None, (), "image"):
                chosen.setdefault(field.name, value)
    if "latitude" not in chosen or "longitude" not in chosen:
        chosen.pop("latitude", None)
        chosen.pop("longitude", None)
    return Metadata(**chosen)


def parse_xmp(packet: bytes) -> Metadata:
    """Parse an XMP packet (ISO 16684-1: RDF; a simple property may be an attribute or an element).

    :param packet: XML; empty gives empty metadata
    :return: its metadata
    :raises ValueError: if it is not XML, or too large
    """
    if not packet.strip(b"\0 \t\r\n"):
        return Metadata()
    if len(packet) > MAX_XMP_BYTES:
        raise ValueError(f"an XMP packet of {len(packet)} bytes, over the limit of {MAX_XMP_BYTES}")
    found: dict[str, list[str]] = {}
    for node in fromstring(packet.rstrip(b"\0")).iter(_RDF + "Description"):
        for name, value in node.attrib.items():
            found.setdefault(name, []).append(value)
        for child in node:
            items = [item.text or "" for item in child.iter(_RDF + "li")]
            found.setdefault(child.tag, []).extend(items or [child.text or ""])

    def first(*names: str) -> str:
        return next((found[name][0] for name in names if found.get(name) and found[name][0].strip()), "")

    times = (first(name) for name in (_EXIF + "DateTimeOriginal", _PHOTOSHOP + "DateCreated", _XMP + "CreateDate"))
    return Metadata(
        taken_at=next(filter(None, map(iso_time, times)), None),
        latitude=_spared(lambda: _xmp_degrees(first(_EXIF + "GPSLatitude"), 90)),
        longitude=_spared(lambda: _xmp_degrees(first(_EXIF + "GPSLongitude"), 180)),
        camera=_camera(first(_TIFF + "Make"), first(_TIFF + "Model")),
        caption=_text(first(_DC + "description", _DC + "title")),
        keywords=_words(found.get(_DC + "subject", [])),
    )


def iso_time(value: Any) -> str | None:
    """Parse a time as EXIF, XMP or a video states it, and drop the zone.

    :param value: text; anything else is ignored
    :return: ISO 8601; None for a time that does not exist
    """
    match = _TIME.match(str(value).strip()) if value else None
    if match is None:
        return None
    year, month, day, hour, minute, second = (int(part or 0) for part in match.groups())
    return _spared(lambda: datetime(year, month, day, hour, minute, second).isoformat())


_RDF = "{http://www.w3.org/1999/02/22-rdf-syntax-ns#}"
_DC = "{http://purl.org/dc/elements/1.1/}"
_EXIF = "{http://ns.adobe.com/exif/1.0/}"
_TIFF = "{http://ns.adobe.com/tiff/1.0/}"
_XMP = "{http://ns.adobe.com/xap/1.0/}"
_PHOTOSHOP = "{http://ns.adobe.com/photoshop/1.0/}"


def _spared(read: Callable[[], Found]) -> Found | None:
    """Call a reader; None if the metadata is damaged."""
    try:
        return read()
    except METADATA_ERRORS:
        return None


def _embedded_xmp(image: Image.Image, exif: Image.Exif) -> bytes:
    """The XMP packet in a picture, wherever its format keeps it; empty where there is none."""
    packet = image.info.get("xmp") or image.info.get("XML:com.adobe.xmp") or exif.get(_TIFF_XMP) or b""
    return packet.encode() if isinstance(packet, str) else bytes(packet)


def _of_exif(exif: Image.Exif) -> Metadata:
    """What EXIF says (CIPA DC-008)."""
    own = _spared(lambda: exif.get_ifd(ExifTags.IFD.Exif)) or {}
    gps = _spared(lambda: exif.get_ifd(ExifTags.IFD.GPSInfo)) or {}
    base, place = ExifTags.Base, ExifTags.GPS
    times = (own.get(base.DateTimeOriginal), own.get(base.DateTimeDigitized), exif.get(base.DateTime))
    keywords = _spared(lambda: bytes(exif[_XP_KEYWORDS]).decode("utf-16-le").rstrip("\0").split(";"))
    return Metadata(
        taken_at=next(filter(None, map(iso_time, times)), None),
        latitude=_spared(lambda: _degrees(gps[place.GPSLatitude], gps[place.GPSLatitudeRef], 90)),
        longitude=_spared(lambda: _degrees(gps[place.GPSLongitude], gps[place.GPSLongitudeRef], 180)),
        camera=_camera(exif.get(base.Make), exif.get(base.Model)),
        caption=_text(exif.get(base.ImageDescription)),
        keywords=_words(keywords or []),
    )


def _of_iptc(image: Image.Image) -> Metadata:
    """Read IPTC (IIM, record 2)."""
    record = (IptcImagePlugin.getiptcinfo(image) if isinstance(image, ImageFile.ImageFile) else None) or {}
    utf8 = record.get(_IPTC_CHARSET) == _UTF8_MARK

    def read(value: Any) -> str:
        try:
            return bytes(value).decode("utf-8")
        except UnicodeDecodeError:
            return bytes(value).decode("utf-8" if utf8 else "latin-1", "replace")

    keywords = record.get(_IPTC_KEYWORDS, [])
    return Metadata(
        caption=_text(read(record.get(_IPTC_CAPTION, b""))),
        keywords=_words(map(read, keywords if isinstance(keywords, list) else [keywords])),
    )


def _degrees(parts: Any, side: Any, limit: int) -> float:
    """Degrees, minutes and seconds as one number; south and west are negative."""
    value = sum(float(part) / 60**power for power, part in enumerate(parts))
    side = side.decode("ascii") if isinstance(side, bytes) else str(side)
    return _bounded(-value if side.strip("\0 ").upper() in ("S", "W") else value, limit)


def _xmp_degrees(text: str, limit: int) -> float | None:
    """A coordinate as XMP writes it: "50,5.25N", "50,5,15N", or a plain number."""
    if not text:
        return None
    if text[-1].upper() in "NSEW":
        return _degrees(text[:-1].split(","), text[-1], limit)
    return _bounded(float(text), limit)


def _bounded(degrees: float, limit: int) -> float:
    """Check the range of degrees, and round to a centimetre."""
    if not -limit <= degrees <= limit:
        raise ValueError(f"{degrees} degrees, over {limit}")
    return round(degrees, 7)


def _text(value: Any) -> str | None:
    """Strip text and bound its length; None if it is empty."""
    if isinstance(value, bytes):
        value = value.decode("utf-8", "replace")
    if not isinstance(value, str):
        return None
    shown = value.replace("\0", " ").encode("utf-8", "replace").decode("utf-8").strip()[:MAX_TEXT]
    return shown or None


def _camera(make: Any, model: Any) -> str | None:
    """Join maker and model, without repeating the maker."""
    maker, kind = _text(make), _text(model)
    if maker and kind and not kind.lower().startswith(maker.split()[0].lower()):
        return f"{maker} {kind}"
    return kind or maker


def _words(values: Iterable[Any]) -> tuple[str, ...]:
    """Strip keywords and drop repeated ones."""
    return tuple(dict.fromkeys(word for value in values if (word := _text(value))))[:MAX_KEYWORDS]
