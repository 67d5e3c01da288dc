import io
import struct

import pytest
from PIL import Image

from babelclip.media.metadata import MAX_KEYWORDS, Metadata, iso_time, merge_metadata, parse_xmp, read_metadata

XMP = """<x:xmpmeta xmlns:x="adobe:ns:meta/"><rdf:RDF xmlns:rdf="http://www.w3.org/1999/02/22-rdf-syntax-ns#">
<rdf:Description xmlns:dc="http://purl.org/dc/elements/1.1/" xmlns:exif="http://ns.adobe.com/exif/1.0/"
 exif:GPSLatitude="50,5.25N" exif:GPSLongitude="14,30.0W">
<dc:description><rdf:Alt><rdf:li xml:lang="x-default">Ein Hund</rdf:li></rdf:Alt></dc:description>
<dc:subject><rdf:Bag><rdf:li>Hund</rdf:li><rdf:li>пляж</rdf:li><rdf:li>Hund</rdf:li></rdf:Bag></dc:subject>
</rdf:Description></rdf:RDF></x:xmpmeta>""".encode()


def exif(orientation: int = 1) -> Image.Exif:
    said = Image.Exif()
    said[0x0112], said[0x010F], said[0x0110] = orientation, "Canon", "Canon EOS R5"
    said[0x010E], said[0x9C9E] = "at sea", "sea;sun".encode("utf-16-le")
    said.get_ifd(0x8769)[0x9003] = "2024:07:31 18:05:09"
    gps = said.get_ifd(0x8825)
    gps[1], gps[2], gps[3], gps[4] = "S", (33.0, 51.0, 30.0), "E", (151.0, 12.0, 0.0)
    return said


def reopened(kind: str = "JPEG", **options: object) -> Image.Image:
    file = io.BytesIO()
    Image.new("RGB", (40, 30)).save(file, kind, **options)
    return Image.open(file)


def iptc(*records: tuple[int, int, bytes]) -> bytes:
    """IPTC records as JPEG keeps them: a Photoshop resource in an APP13 segment."""
    data = b"".join(
        b"\x1c" + struct.pack(">BBH", first, second, len(value)) + value for first, second, value in records
    )
    data += b"\0" * (len(data) % 2)
    return b"Photoshop 3.0\0" + b"8BIM" + struct.pack(">HHI", 0x0404, 0, len(data)) + data


def with_iptc(*records: tuple[int, int, bytes]) -> Image.Image:
    file = io.BytesIO()
    Image.new("RGB", (40, 30)).save(file, "JPEG")
    segment = iptc(*records)
    whole = file.getvalue()
    return Image.open(io.BytesIO(whole[:2] + b"\xff\xed" + struct.pack(">H", len(segment) + 2) + segment + whole[2:]))


def test_exif_gives_time_place_camera_caption_and_keywords() -> None:
    assert read_metadata(reopened(exif=exif())) == Metadata(
        width=40,
        height=30,
        taken_at="2024-07-31T18:05:09",
        latitude=-33.8583333,
        longitude=151.2,
        camera="Canon EOS R5",
        caption="at sea",
        keywords=("sea", "sun"),
    )


def test_size_is_that_of_the_upright_picture() -> None:
    facts = read_metadata(reopened(exif=exif(orientation=6)))
    assert (facts.width, facts.height) == (30, 40)


@pytest.mark.parametrize("kind", ["JPEG", "WEBP"])
def test_xmp_in_a_picture_is_read(kind: str) -> None:
    facts = read_metadata(reopened(kind, xmp=XMP))
    assert (facts.caption, facts.keywords) == ("Ein Hund", ("Hund", "пляж"))
    assert (facts.latitude, facts.longitude) == (50.0875, -14.5)


def test_a_sidecar_is_trusted_more_than_the_picture() -> None:
    facts = read_metadata(reopened(exif=exif()), XMP)
    assert (facts.caption, facts.latitude, facts.camera) == ("Ein Hund", 50.0875, "Canon EOS R5")


def test_iptc_is_read_in_utf8_and_latin1() -> None:
    facts = read_metadata(with_iptc((2, 25, b"Strand"), (2, 25, "Müll".encode("latin-1")), (2, 120, "Häuser".encode())))
    assert (facts.caption, facts.keywords) == ("Häuser", ("Strand", "Müll"))


@pytest.mark.filterwarnings("ignore:Corrupt EXIF data:UserWarning")
@pytest.mark.parametrize(
    "packet",
    [
        b"<broken",
        b"\xff\xfe\x00",
        b"<!DOCTYPE a [<!ENTITY b 'c'>]><a>&b;</a>",
        XMP.replace(b"50,5.25N", b"many,N").replace(b"14,30.0W", b"999,0W"),
        b"<a>" * 100_000,
    ],
)
def test_damaged_metadata_says_nothing(packet: bytes) -> None:
    facts = read_metadata(reopened(exif=b"Exif\0\0II*\0\xff\xff\xff\x7f"), packet)
    assert (facts.width, facts.height, facts.latitude, facts.taken_at) == (40, 30, None, None)


def test_a_packet_of_nothing_says_nothing_and_a_huge_one_is_refused() -> None:
    assert parse_xmp(b"\0 \n") == Metadata()
    with pytest.raises(ValueError, match="over the limit"):
        parse_xmp(b" " * (4 * 2**20) + b"<a/>")


@pytest.mark.parametrize(
    ("written", "meant"),
    [
        ("2024:07:31 18:05:09", "2024-07-31T18:05:09"),
        ("2024-07-31T18:05:09.5+02:00", "2024-07-31T18:05:09"),
        ("2024-07-31", "2024-07-31T00:00:00"),
        ("0000:00:00 00:00:00", None),
        ("2024:02:30 10:00:00", None),
        ("yesterday", None),
        (None, None),
    ],
)
def test_times_lose_their_zone_and_impossible_ones_say_nothing(written: str | None, meant: str | None) -> None:
    assert iso_time(written) == meant


def test_half_a_place_is_none_and_keywords_are_bounded() -> None:
    assert merge_metadata([Metadata(latitude=3.0)]) == Metadata()
    words = "".join(f"<rdf:li>{i}</rdf:li>" for i in range(MAX_KEYWORDS + 9)).encode()
    assert len(parse_xmp(XMP.replace(b"<rdf:li>Hund</rdf:li>", words)).keywords) == MAX_KEYWORDS
