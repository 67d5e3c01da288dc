"""JPEGs that are decoded smaller than they are, and pictures that are almost lines."""

import io
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import skimage
from PIL import ExifTags, Image, ImageCms

from babelclip.checkpoints.specs import PixelSpec
from babelclip.media import images
from babelclip.media.images import Pixels, read_image, read_pixels, to_pixels
from babelclip.media.thumbnails import load_thumbnail
from babelclip.settings import settings

LARGE_PHOTOS = [
    path for path in sorted(Path(skimage.__file__).parent.joinpath("data").glob("*.jpg")) if path.stem == "retina"
]
CLIP_LIKE = PixelSpec(resize=50, crop=(50, 50), resample=3, mean=(0.5,) * 3, std=(0.5,) * 3)
STRETCHED = PixelSpec(resize=(50, 50), crop=None, resample=3, mean=(0.5,) * 3, std=(0.5,) * 3)


def large_picture(size: tuple[int, int] = (1200, 900), mode: str = "RGB") -> Image.Image:
    """A picture of soft shapes, every corner of another colour."""
    coarse = np.random.default_rng(3).integers(0, 256, (6, 8, 3), dtype=np.uint8)
    return Image.fromarray(coarse).resize(size, Image.Resampling.BICUBIC).convert(mode)


def as_jpeg(image: Image.Image, **options: Any) -> bytes:
    file = io.BytesIO()
    image.save(file, "JPEG", quality=92, **options)
    return file.getvalue()


def unlike(a: Pixels, b: Pixels) -> float:
    """The mean difference, in steps of 255."""
    return float(np.abs(a.astype(int) - b).mean())


@pytest.mark.parametrize(("spec", "enough"), [(CLIP_LIKE, 2), (STRETCHED, 4)])
@pytest.mark.parametrize("size", [(1200, 900), (900, 1200), (403, 402), (3000, 210), (120, 90)])
def test_a_large_jpeg_is_decoded_smaller_and_never_too_small(
    size: tuple[int, int], spec: PixelSpec, enough: int
) -> None:
    decoded = images._read(as_jpeg(large_picture(size)), partial(images._enough, spec=spec))
    assert min(decoded.size) >= min(50 * enough, min(size))
    smaller = min(size) >= 2 * 50 * enough
    assert (decoded.size != size) == smaller
    if smaller:
        assert min(decoded.size) <= 2 * 50 * enough + 1


@pytest.mark.parametrize("spec", [CLIP_LIKE, STRETCHED])
@pytest.mark.parametrize(
    ("mode", "options"),
    [("RGB", {}), ("RGB", {"progressive": True}), ("RGB", {"subsampling": "4:2:0"}), ("L", {}), ("CMYK", {})],
)
def test_a_jpeg_that_was_decoded_smaller_looks_the_same(mode: str, options: dict[str, Any], spec: PixelSpec) -> None:
    source = as_jpeg(large_picture(mode=mode), **options)
    exact = to_pixels(read_image(source), spec)
    reduced = read_pixels(source, spec)
    assert not np.array_equal(exact, reduced)
    assert unlike(exact, reduced) < 1


@pytest.mark.parametrize("photo", LARGE_PHOTOS, ids=lambda path: path.stem)
def test_a_real_photo_looks_the_same(photo: Path) -> None:
    assert images._read(photo, partial(images._enough, spec=CLIP_LIKE)).size < read_image(photo).size
    assert unlike(to_pixels(read_image(photo), CLIP_LIKE), read_pixels(photo, CLIP_LIKE)) < 2


@pytest.mark.parametrize("orientation", range(1, 9))
def test_a_jpeg_that_was_decoded_smaller_is_upright(orientation: int) -> None:
    exif = Image.Exif()
    exif[ExifTags.Base.Orientation] = orientation
    source = as_jpeg(large_picture(), exif=exif.tobytes())
    assert unlike(to_pixels(read_image(source), CLIP_LIKE), read_pixels(source, CLIP_LIKE)) < 1


def test_a_jpeg_that_was_decoded_smaller_keeps_its_colour_profile() -> None:
    standard = ImageCms.ImageCmsProfile(ImageCms.createProfile("sRGB"))
    swapped = bytearray(standard.tobytes())
    # The red and the blue curve's places in the profile's table change hands, so its colours do too.
    red, blue = swapped.index(b"rXYZ"), swapped.index(b"bXYZ")
    swapped[red], swapped[blue] = swapped[blue], swapped[red]
    name, other = "sRGB".encode("utf-16-be"), "test".encode("utf-16-be")
    swapped = bytearray(bytes(swapped).replace(name, other))
    source = as_jpeg(large_picture(), icc_profile=bytes(swapped))
    plain = as_jpeg(large_picture())
    assert unlike(to_pixels(read_image(source), CLIP_LIKE), read_pixels(source, CLIP_LIKE)) < 1
    assert unlike(read_pixels(plain, CLIP_LIKE), read_pixels(source, CLIP_LIKE)) > 5


@pytest.mark.parametrize("orientation", range(1, 9))
@pytest.mark.parametrize("size", [(1200, 900), (1201, 407)])
def test_a_small_picture_of_a_large_jpeg_is_decoded_smaller_upright_and_looks_the_same(
    size: tuple[int, int], orientation: int, tmp_path: Path
) -> None:
    exif = Image.Exif()
    exif[ExifTags.Base.Orientation] = orientation
    (tmp_path / "a.jpg").write_bytes(as_jpeg(large_picture(size), exif=exif.tobytes()))
    exact = read_image(tmp_path / "a.jpg")
    assert 300 <= max(read_image(tmp_path / "a.jpg", shown_at=200).size) < size[0]
    exact.thumbnail((200, 200), Image.Resampling.LANCZOS)
    small = load_thumbnail(str(tmp_path / "a.jpg"), 200)
    assert small.size == exact.size
    assert unlike(np.asarray(small), np.asarray(exact)) < 1


def test_without_reduced_decoding_pixels_are_exact(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("BABELCLIP_REDUCED_DECODING", "0")
    settings.cache_clear()
    source = as_jpeg(large_picture())
    np.testing.assert_array_equal(read_pixels(source, CLIP_LIKE), to_pixels(read_image(source), CLIP_LIKE))


def test_other_pictures_are_exact_and_a_callers_own_stay_as_they_are() -> None:
    image = large_picture()
    file = io.BytesIO()
    image.save(file, "PNG")
    np.testing.assert_array_equal(read_pixels(file.getvalue(), CLIP_LIKE), to_pixels(image, CLIP_LIKE))
    opened = Image.open(io.BytesIO(as_jpeg(image)))
    exact = to_pixels(read_image(as_jpeg(image)), CLIP_LIKE)
    np.testing.assert_array_equal(read_pixels(opened, CLIP_LIKE), exact)
    assert opened.size == image.size


@pytest.mark.parametrize("size", [(100_000, 1), (1, 100_000), (7000, 100)])
def test_a_line_of_pixels_does_not_become_gigabytes(size: tuple[int, int]) -> None:
    line = Image.new("RGB", size, "red")
    line.paste("blue", (0, 0, max(1, size[0] // 3), max(1, size[1] // 3)))
    found = to_pixels(line, CLIP_LIKE)
    assert found.shape == (50, 50, 3)
    assert (found[25, 25] == (255, 0, 0)).all()
