import io
import subprocess
import sys
import tarfile
from pathlib import Path
from typing import Any

import numpy as np
import pillow_heif
import pytest
import skimage
from PIL import ExifTags, Image, ImageCms

from babelclip.checkpoints.specs import PixelSpec
from babelclip.errors import ImageError, ImageTooLargeError
from babelclip.media.images import read_image, register_formats, to_pixels
from babelclip.settings import settings

CLIP = PixelSpec(resize=224, crop=(224, 224), resample=3, mean=(0.5,) * 3, std=(0.5,) * 3)
REAL_PHOTOS = sorted(Path(skimage.__file__).parent.joinpath("data").glob("*.jpg"))
RED, GREEN, BLUE, WHITE = (255, 0, 0), (0, 128, 0), (0, 0, 255), (255, 255, 255)


def encoded(image: Image.Image, form: str, **options: object) -> bytes:
    buffer = io.BytesIO()
    if form == "HEIF":
        pillow_heif.from_pillow(image).save(buffer, **options)
    else:
        image.save(buffer, form, **options)
    return buffer.getvalue()


def colour(image: Image.Image, x: int, y: int) -> tuple[int, ...]:
    value = image.getpixel((x, y))
    assert isinstance(value, tuple)
    return tuple(int(part) for part in value)


def near(a: tuple[int, ...], b: tuple[int, ...], by: int = 12) -> bool:
    return max(abs(x - y) for x, y in zip(a, b, strict=True)) <= by


def halves(size: tuple[int, int] = (40, 20)) -> Image.Image:
    """Red on the left, blue on the right."""
    image = Image.new("RGB", size, RED)
    image.paste(BLUE, (size[0] // 2, 0, size[0], size[1]))
    return image


def test_there_are_real_jpegs_to_test_on() -> None:
    assert len(REAL_PHOTOS) >= 2


@pytest.mark.parametrize("photo", REAL_PHOTOS, ids=lambda path: path.name)
@pytest.mark.parametrize("side", [224, 37])
def test_preprocessing_equals_clips_processor_on_real_jpegs(photo: Path, side: int, reference: Any) -> None:
    spec = PixelSpec(resize=side, crop=(side, side), resample=3, mean=(0.5,) * 3, std=(0.5,) * 3)
    with Image.open(photo) as image:
        # The processor knows nothing of colour profiles; apart from them both must see the same.
        image.info.pop("icc_profile", None)
        expected = reference.processor_pixels([image], side)[0]
        ours = to_pixels(read_image(image), spec)
    assert np.abs(ours.astype(int) - expected.astype(int)).max() <= 1


@pytest.mark.parametrize("size", [(1, 1), (1, 300), (300, 1), (224, 224), (223, 225), (500, 333), (31, 7)])
def test_preprocessing_equals_clips_processor_at_odd_sizes(size: tuple[int, int], reference: Any) -> None:
    rng = np.random.default_rng(0)
    image = Image.fromarray(rng.integers(0, 256, (size[1], size[0], 3), dtype=np.uint8))
    np.testing.assert_array_equal(to_pixels(image, CLIP), reference.processor_pixels([image], 224)[0])


def test_a_crop_larger_than_the_picture_is_padded_as_the_processor_does() -> None:
    image = halves((33, 21))
    spec = PixelSpec(resize=20, crop=(45, 44), resample=3, mean=(0.5,) * 3, std=(0.5,) * 3)
    import transformers

    processor = transformers.CLIPImageProcessorPil(
        size={"shortest_edge": 20}, crop_size={"height": 45, "width": 44}, do_rescale=False, do_normalize=False
    )
    expected = processor(images=[image])["pixel_values"][0].transpose(1, 2, 0)
    np.testing.assert_array_equal(to_pixels(image, spec), expected)


def test_a_stretched_picture_keeps_both_ends() -> None:
    spec = PixelSpec(resize=(8, 8), crop=None, resample=2, mean=(0.5,) * 3, std=(0.5,) * 3)
    pixels = to_pixels(halves((400, 20)), spec)
    assert pixels.shape == (8, 8, 3)
    assert near(tuple(pixels[4, 0]), RED)
    assert near(tuple(pixels[4, 7]), BLUE)


@pytest.mark.parametrize("orientation", range(1, 9))
def test_all_eight_exif_orientations_are_turned_upright(orientation: int) -> None:
    upright = Image.new("RGB", (40, 20), WHITE)
    upright.paste(RED, (0, 0, 10, 10))
    undo = {
        2: Image.Transpose.FLIP_LEFT_RIGHT,
        3: Image.Transpose.ROTATE_180,
        4: Image.Transpose.FLIP_TOP_BOTTOM,
        5: Image.Transpose.TRANSPOSE,
        6: Image.Transpose.ROTATE_90,
        7: Image.Transpose.TRANSVERSE,
        8: Image.Transpose.ROTATE_270,
    }
    stored = upright.transpose(undo[orientation]) if orientation > 1 else upright
    exif = Image.Exif()
    exif[ExifTags.Base.Orientation] = orientation
    image = read_image(encoded(stored, "JPEG", exif=exif, quality=95, subsampling=0))
    assert image.size == (40, 20)
    assert near(colour(image, 3, 3), RED)
    assert near(colour(image, 35, 15), WHITE)


def test_preprocessing_equals_clips_processor_on_photos_by_path(shared: Path, tmp_path: Path, reference: Any) -> None:
    with tarfile.open(shared / "images/flickr8k.tar") as archive:
        archive.extractall(tmp_path, archive.getmembers()[:40], filter="data")
    photos = sorted(tmp_path.glob("*.jpg"))
    assert len(photos) == 40
    expected = reference.processor_pixels([Image.open(io.BytesIO(photo.read_bytes())) for photo in photos], 224)
    ours = np.stack([to_pixels(read_image(photo), CLIP) for photo in photos])
    assert np.abs(ours.astype(int) - expected.astype(int)).max() <= 1


@pytest.mark.filterwarnings("ignore:Corrupt EXIF data")
def test_damaged_exif_does_not_lose_the_picture() -> None:
    raw = encoded(halves(), "JPEG", exif=b"Exif\x00\x00II*\x00\xff\xff\xff\xff\x01\x02")
    assert read_image(raw).size == (40, 20)


@pytest.mark.parametrize("form", ["PNG", "WEBP", "TIFF"])
def test_alpha_is_laid_over_white(form: str) -> None:
    image = halves().convert("RGBA")
    image.putalpha(Image.new("L", image.size, 0))
    image.paste((0, 128, 0, 255), (0, 0, 20, 20))
    read = read_image(encoded(image, form, **({"lossless": True} if form == "WEBP" else {})))
    assert read.mode == "RGB"
    assert near(colour(read, 5, 5), GREEN)
    assert near(colour(read, 30, 5), WHITE)


def test_half_transparency_is_mixed_with_white() -> None:
    assert near(colour(read_image(Image.new("RGBA", (4, 4), (0, 0, 0, 128))), 1, 1), (127, 127, 127), 1)


def test_grey_alpha_palette_alpha_and_png_trns_are_laid_over_white() -> None:
    grey = Image.new("LA", (4, 4), (0, 0))
    assert colour(read_image(encoded(grey, "PNG")), 0, 0) == WHITE
    palette = halves().quantize(4)
    clear = palette.getpixel((0, 0))
    for transparency in (clear, bytes([0 if i == clear else 255 for i in range(4)])):
        read = read_image(encoded(palette, "PNG", transparency=transparency))
        assert near(colour(read, 2, 2), WHITE)
        assert near(colour(read, 38, 2), BLUE)
    assert colour(read_image(encoded(halves(), "PNG", transparency=RED)), 2, 2) == WHITE
    assert colour(read_image(encoded(Image.new("L", (4, 4), 7), "PNG", transparency=7)), 2, 2) == WHITE


def test_cmyk_grey_bilevel_and_deep_grey_become_rgb() -> None:
    assert near(colour(read_image(encoded(halves().convert("CMYK"), "JPEG", quality=95)), 5, 5), RED, 40)
    assert colour(read_image(encoded(Image.new("L", (4, 4), 99), "PNG")), 0, 0) == (99, 99, 99)
    assert colour(read_image(encoded(Image.new("1", (4, 4), 1), "PNG")), 0, 0) == WHITE
    deep = Image.fromarray(np.full((4, 4), 0x8040, dtype=np.uint16))
    for form in ("PNG", "TIFF"):
        assert colour(read_image(encoded(deep, form)), 0, 0) == (128, 128, 128)
    floats = Image.fromarray(np.full((4, 4), 0.5, dtype=np.float32))
    assert colour(read_image(encoded(floats, "TIFF")), 0, 0) == (128, 128, 128)
    wide = Image.fromarray(np.full((4, 4), 65535, dtype=np.int32))
    assert colour(read_image(wide), 0, 0) == WHITE


@pytest.mark.parametrize("form", ["GIF", "WEBP", "PNG"])
def test_of_an_animation_the_first_frame_is_read(form: str) -> None:
    frames = [Image.new("RGB", (20, 20), c) for c in (RED, BLUE)]
    raw = encoded(frames[0], form, save_all=True, append_images=frames[1:], duration=50)
    assert near(colour(read_image(raw), 5, 5), RED)


def test_the_decoder_of_heic_is_loaded_at_the_first_one(tmp_path: Path) -> None:
    halves((64, 64)).save(tmp_path / "a.png")
    pillow_heif.from_pillow(halves((64, 64))).save(tmp_path / "b.heic", quality=95)
    said = "import sys; from babelclip.media.images import read_image\n"
    said += "for path in sys.argv[1:]: print(read_image(path).size, 'pillow_heif' in sys.modules)"
    run = [sys.executable, "-c", said, str(tmp_path / "a.png"), str(tmp_path / "b.heic")]
    printed = subprocess.run(run, capture_output=True, text=True, check=True).stdout.splitlines()
    assert printed == ["(64, 64) False", "(64, 64) True"]


def test_heic_and_avif_are_read(tmp_path: Path) -> None:
    pillow_heif.from_pillow(halves((64, 64))).save(tmp_path / "a.heic", quality=95)
    halves((64, 64)).save(tmp_path / "b.avif", quality=95)
    for path in (tmp_path / "a.heic", tmp_path / "b.avif"):
        assert near(colour(read_image(path), 10, 30), RED, 25)
        assert near(colour(read_image(path), 50, 30), BLUE, 25)


def test_an_embedded_profile_is_brought_to_srgb_and_a_damaged_one_left_out() -> None:
    lab = ImageCms.ImageCmsProfile(ImageCms.createProfile("LAB")).tobytes()
    xyz = ImageCms.ImageCmsProfile(ImageCms.createProfile("XYZ")).tobytes()
    plain = colour(read_image(encoded(halves(), "PNG")), 5, 5)
    for profile in (lab, xyz, b"not a profile"):
        assert colour(read_image(encoded(halves(), "PNG", icc_profile=profile)), 5, 5) == plain


def swapped_profile() -> bytes:
    """An RGB profile whose red and blue primaries are those of sRGB exchanged: its red shows as blue."""
    raw = bytearray(ImageCms.ImageCmsProfile(ImageCms.createProfile("sRGB")).tobytes())
    red, blue = raw.index(b"rXYZ", 128), raw.index(b"bXYZ", 128)
    raw[red : red + 4], raw[blue : blue + 4] = b"bXYZ", b"rXYZ"
    return bytes(raw).replace("sRGB".encode("utf-16-be"), "swap".encode("utf-16-be")).replace(b"sRGB", b"swap", 1)


def test_colours_follow_the_embedded_profile() -> None:
    image = read_image(encoded(Image.new("RGB", (8, 8), RED), "PNG", icc_profile=swapped_profile()))
    assert near(colour(image, 2, 2), BLUE, 40)


def test_arrays_of_every_kind_are_read() -> None:
    array = np.asarray(halves())
    for given in (array, array.astype(np.float32) / 255, np.dstack([array, np.full(array.shape[:2], 255, np.uint8)])):
        assert colour(read_image(given), 5, 5) == RED
    assert read_image(np.zeros((5, 6))).size == (6, 5)
    assert colour(read_image(np.ones((5, 6, 1), dtype=bool)), 0, 0) == WHITE


@pytest.mark.parametrize(
    ("array", "message"),
    [
        (np.zeros((3, 5, 5)), r"an image array is \(h, w\)"),
        (np.zeros((0, 5, 3)), "not empty"),
        (np.zeros((5, 5), dtype=np.int64), "uint8 or floats"),
        (np.full((5, 5), 2.0), r"0\.\.1"),
        (np.full((5, 5), np.nan), "finite"),
    ],
)
def test_an_array_that_is_no_image_is_an_error(array: np.ndarray, message: str) -> None:
    with pytest.raises(ImageError, match=message):
        read_image(array)


@pytest.mark.parametrize("form", ["JPEG", "PNG", "WEBP", "GIF", "TIFF", "BMP", "AVIF", "HEIF"])
def test_a_truncated_file_is_an_error_that_names_it(tmp_path: Path, form: str) -> None:
    rng = np.random.default_rng(0)
    image = Image.fromarray(rng.integers(0, 256, (120, 120, 3), dtype=np.uint8))
    raw = encoded(image, form)
    path = tmp_path / f"cut.{form.lower()}"
    path.write_bytes(raw[: len(raw) * 6 // 10])
    with pytest.raises(ImageError, match=path.name):
        read_image(path)


def test_missing_empty_and_foreign_files_are_errors_that_name_them(tmp_path: Path) -> None:
    with pytest.raises(ImageError, match=r"none\.jpg: no such file"):
        read_image(tmp_path / "none.jpg")
    (tmp_path / "empty.jpg").touch()
    with pytest.raises(ImageError, match=r"empty\.jpg: the file is empty"):
        read_image(tmp_path / "empty.jpg")
    (tmp_path / "text.jpg").write_text("hello")
    with pytest.raises(ImageError, match=r"text\.jpg: not a picture"):
        read_image(str(tmp_path / "text.jpg"))
    with pytest.raises(ImageError, match="image of 5 bytes: not a picture"):
        read_image(b"hello")
    with pytest.raises(ImageError, match="cannot be decoded"):
        read_image(tmp_path)


def test_a_bomb_is_refused_before_it_is_decoded() -> None:
    bomb = encoded(Image.new("1", (20_000, 20_000)), "PNG")
    assert len(bomb) < 100_000
    with pytest.raises(ImageError, match=r"400000000 pixels, over the limit of 178000000"):
        read_image(bomb)


def test_limits_come_from_the_settings_and_the_message_says_so(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    path = tmp_path / "a.png"
    halves().save(path)
    monkeypatch.setenv("BABELCLIP_MAX_IMAGE_PIXELS", "799")
    settings.cache_clear()
    for source in (path, halves(), np.asarray(halves())):
        with pytest.raises(ImageTooLargeError, match="over the limit of 799"):
            read_image(source)
    monkeypatch.setenv("BABELCLIP_MAX_IMAGE_BYTES", "10")
    settings.cache_clear()
    for given in (path, path.read_bytes()):
        with pytest.raises(ImageTooLargeError, match="over the limit of 10; BABELCLIP_MAX_IMAGE_BYTES"):
            read_image(given)


def test_the_limit_of_pixels_may_be_above_pillows(monkeypatch: pytest.MonkeyPatch) -> None:
    content = io.BytesIO()
    Image.new("1", (1000, 100)).save(content, "PNG")
    monkeypatch.setattr(Image, "MAX_IMAGE_PIXELS", 10_000)
    for limit in (90_000, 100_000):
        monkeypatch.setenv("BABELCLIP_MAX_IMAGE_PIXELS", str(limit))
        settings.cache_clear()
        register_formats.cache_clear()
        if limit < 100_000:
            with pytest.raises(ImageTooLargeError, match="over the limit of 90000; BABELCLIP_MAX_IMAGE_PIXELS"):
                read_image(content.getvalue())
        else:
            assert read_image(content.getvalue()).size == (1000, 100)


def test_pillows_own_refusal_names_our_limit(monkeypatch: pytest.MonkeyPatch) -> None:
    content = io.BytesIO()
    Image.new("1", (1000, 100)).save(content, "PNG")
    register_formats()
    monkeypatch.setattr(Image, "MAX_IMAGE_PIXELS", 10_000)
    with pytest.raises(ImageTooLargeError, match=r"100000 pixels, over the limit of 178000000; BABELCLIP_MAX"):
        read_image(content.getvalue())
