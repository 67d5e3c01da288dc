"""Documents and photos that are made, to try duplicates with: pages, chats, receipts, forms, edited photos, bursts.

Each comes in pairs: a picture, and another that differs from it in little.
"""

import io
from collections.abc import Callable, Iterator
from typing import Any

import numpy as np
from PIL import Image, ImageDraw, ImageFont

WORDS = (
    "invoice",
    "total",
    "date",
    "page",
    "dear",
    "sir",
    "order",
    "amount",
    "paid",
    "name",
    "street",
    "city",
    "from",
    "to",
)


def page(seed: int, *, changed: bool = False, size: tuple[int, int] = (827, 1169)) -> Image.Image:
    """A page of text with a number in every line; changed, the last digit of one line is another.

    :param seed: of the text and its size
    :param changed: whether one digit is another
    :param size: in pixels
    :return: an RGB image
    """
    rng = np.random.default_rng(seed)
    letters = int((12, 14, 18)[seed % 3] * size[0] / 827)
    lines = []
    for top in range(60, size[1] - 60, int(letters * 1.6)):
        lines.append((top, f"{' '.join(rng.choice(WORDS, 8))} {rng.integers(1000, 9999)}"))
    if changed:
        line = int(rng.integers(0, len(lines)))
        lines[line] = (lines[line][0], _other_digit(lines[line][1]))
    return _written(size, lines, letters)


def form(seed: int, *, changed: bool = False) -> Image.Image:
    """A form of boxes with handwritten-like entries; changed, one entry is another.

    :param seed: of the entries
    :param changed: whether one entry is another
    :return: an RGB image
    """
    rng = np.random.default_rng(seed)
    image = Image.new("RGB", (700, 900), (255, 254, 250))
    draw = ImageDraw.Draw(image)
    entries = [f"{rng.integers(10, 99)} {rng.choice(WORDS)}" for _ in range(12)]
    if changed:
        box = int(rng.integers(0, len(entries)))
        entries[box] = _other_digit(entries[box][:2]) + entries[box][2:]
    for row, entry in enumerate(entries):
        top = 40 + 68 * row
        draw.rectangle((40, top, 660, top + 50), outline=(120, 120, 120))
        draw.text((52, top + 4), WORDS[row], fill=(90, 90, 90), font=ImageFont.load_default(size=11))
        draw.text((60, top + 20), entry, fill=(20, 30, 140), font=ImageFont.load_default(size=20))
    return image


def chat(seed: int, *, changed: bool = False) -> Image.Image:
    """A screenshot of a chat; changed, one message is another.

    :param seed: of the messages
    :param changed: whether one message is another
    :return: an RGB image
    """
    rng = np.random.default_rng(seed)
    image = Image.new("RGB", (540, 1170), (236, 229, 221))
    draw = ImageDraw.Draw(image)
    messages = [
        (top, int(rng.integers(180, 380)), bool(rng.random() < 0.5), " ".join(rng.choice(WORDS, 4)))
        for top in range(40, 1080, 70)
    ]
    if changed:
        which = int(rng.integers(0, len(messages)))
        messages[which] = (*messages[which][:3], " ".join(rng.choice(WORDS, 4)))
    for top, width, at_left, text in messages:
        left = 20 if at_left else 520 - width
        colour = "white" if at_left else (220, 248, 198)
        draw.rounded_rectangle((left, top, left + width, top + 50), 10, fill=colour)
        draw.text((left + 12, top + 14), text, fill="black", font=ImageFont.load_default(size=16))
    return image


def receipt(seed: int, *, changed: bool = False) -> Image.Image:
    """A receipt; changed, the last digit of one price is another.

    :param seed: of the lines
    :param changed: whether one price is another
    :return: an RGB image
    """
    rng = np.random.default_rng(seed)
    image = Image.new("RGB", (300, 700), (250, 248, 240))
    draw = ImageDraw.Draw(image)
    prices = [f"{rng.integers(1, 99)}.{rng.integers(10, 99)}" for _ in range(22)]
    if changed:
        line = int(rng.integers(0, len(prices)))
        prices[line] = _other_digit(prices[line])
    for line, (word, price) in enumerate(zip(rng.choice(WORDS, len(prices)), prices, strict=True)):
        for left, text in ((20, word), (220, price)):
            draw.text((left, 30 + 28 * line), text, fill=(40, 40, 40), font=ImageFont.load_default(size=13))
    return image


def scene(seed: int, *, changed: bool = False, size: tuple[int, int] = (480, 360)) -> Image.Image:
    """A made photo: soft colours, edges, and the noise of a sensor; changed, a patch of it is lighter.

    :param seed: of the scene
    :param changed: whether a patch of a tenth of the width is lighter
    :param size: in pixels
    :return: an RGB image
    """
    pixels = _noisy(_scene(seed, size), seed)
    if changed:
        side = size[0] // 10
        left, top = np.random.default_rng(seed).integers(side, (size[0] - 2 * side, size[1] - 2 * side))
        pixels[top : top + side, left : left + side] = np.minimum(
            pixels[top : top + side, left : left + side] + 40, 255
        )
    return Image.fromarray(pixels.astype(np.uint8))


def tripod(seed: int, *, changed: bool = False) -> Image.Image:
    """A shot from a tripod; changed, the next shot, of the same scene with other noise.

    :param seed: of the scene
    :param changed: whether it is the next shot
    :return: an RGB image
    """
    pixels = _noisy(_scene(seed, (480, 360)), seed + 1000 * changed)
    return Image.fromarray(pixels.astype(np.uint8))


def burst(seed: int, *, changed: bool = False) -> Image.Image:
    """A shot of a burst; changed, the next shot, a pixel further.

    :param seed: of the scene
    :param changed: whether it is the next shot
    :return: an RGB image
    """
    image = Image.fromarray(_noisy(_scene(seed, (482, 362)), seed).astype(np.uint8))
    return image.crop((1, 1, 481, 361) if changed else (0, 0, 480, 360))


KINDS: dict[str, Callable[..., Image.Image]] = {
    "page": page,
    "form": form,
    "chat": chat,
    "receipt": receipt,
    "scene": scene,
    "tripod": tripod,
    "burst": burst,
}


def encoded(image: Image.Image, form: str, **options: Any) -> Image.Image:
    """A picture, saved and read again.

    :param image: an RGB image
    :param form: of Pillow: JPEG, WEBP
    :param **options: of that form
    :return: an RGB image
    """
    file = io.BytesIO()
    image.save(file, form, **options)
    return Image.open(file).convert("RGB")


def resaves(image: Image.Image) -> Iterator[tuple[str, Image.Image]]:
    """The picture as programs save it again: compressed, at half and a third of the size, turned and turned back.

    :param image: an RGB image
    :yield: how, and an RGB image
    """
    for quality in (60, 75, 85, 95):
        yield f"JPEG {quality}", encoded(image, "JPEG", quality=quality)
    for quality in (60, 80, 90):
        yield f"WebP {quality}", encoded(image, "WEBP", quality=quality)
    half = (image.width // 2, image.height // 2)
    for kind in (Image.Resampling.LANCZOS, Image.Resampling.BICUBIC, Image.Resampling.BILINEAR, Image.Resampling.BOX):
        yield f"half, {kind.name.lower()}", image.resize(half, kind)
        yield f"half, {kind.name.lower()}, JPEG 75", encoded(image.resize(half, kind), "JPEG", quality=75)
    yield "half, whole pixels", image.reduce(2)
    third = image.resize((round(image.width / 3), round(image.height / 3)), Image.Resampling.LANCZOS)
    yield "third, JPEG 80", encoded(third, "JPEG", quality=80)
    turned = encoded(image.transpose(Image.Transpose.ROTATE_90), "JPEG", quality=75)
    yield "turned, JPEG 75", turned.transpose(Image.Transpose.ROTATE_270)


def _other_digit(text: str) -> str:
    return text[:-1] + str((int(text[-1]) + 1) % 10)


def _written(size: tuple[int, int], lines: list[tuple[int, str]], letters: int) -> Image.Image:
    """Lines of text on white."""
    image = Image.new("RGB", size, "white")
    draw = ImageDraw.Draw(image)
    for top, text in lines:
        draw.text((60, top), text, fill="black", font=ImageFont.load_default(size=letters))
    return image


def _scene(seed: int, size: tuple[int, int]) -> Image.Image:
    """Soft colours with some edges."""
    rng = np.random.default_rng(seed)
    image = Image.fromarray(rng.integers(40, 216, (6, 8, 3), dtype=np.uint8)).resize(size, Image.Resampling.BICUBIC)
    draw = ImageDraw.Draw(image)
    for _ in range(12):
        left, top = (int(rng.integers(0, length)) for length in size)
        right, bottom = left + int(rng.integers(10, 120)), top + int(rng.integers(10, 120))
        draw.ellipse((left, top, right, bottom), fill=tuple(rng.integers(20, 235, 3).tolist()))
    return image


def _noisy(image: Image.Image, seed: int) -> np.ndarray[Any, np.dtype[np.float64]]:
    """Levels with the noise of a sensor."""
    levels = np.asarray(image, dtype=np.float64)
    return (levels + np.random.default_rng(seed).normal(0, 4, levels.shape)).clip(0, 255)
