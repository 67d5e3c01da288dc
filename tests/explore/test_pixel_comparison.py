import pytest
from PIL import Image

from babelclip.explore.pixel_comparison import compare, may_be_resized, same_picture
from made_documents import KINDS, encoded, page, resaves, scene

SEEDS = range(3)


@pytest.mark.parametrize("kind", KINDS)
def test_a_small_change_makes_another_picture(kind: str) -> None:
    for seed in SEEDS:
        image, other = KINDS[kind](seed), KINDS[kind](seed, changed=True)
        assert not same_picture(image, other)
        assert not same_picture(image, encoded(other, "JPEG", quality=75))


@pytest.mark.parametrize("kind", KINDS)
def test_different_documents_of_one_kind_are_different_pictures(kind: str) -> None:
    images = [KINDS[kind](seed) for seed in range(4)]
    for i, image in enumerate(images):
        assert not any(same_picture(image, other) for other in images[i + 1 :])


@pytest.mark.parametrize("kind", KINDS)
def test_re_saves_are_the_same_picture(kind: str) -> None:
    image = KINDS[kind](0)
    missed = [how for how, saved in resaves(image) if not same_picture(saved, image)]
    assert len(missed) <= 1, missed


def test_a_changed_digit_is_seen_at_half_the_size() -> None:
    half = (413, 584)
    images = [page(2, changed=changed).resize(half, Image.Resampling.LANCZOS) for changed in (False, True)]
    assert same_picture(page(2), images[0])
    assert not same_picture(page(2), images[1])


def test_another_brightness_contrast_or_tint_makes_another_picture() -> None:
    image = scene(0)
    assert not same_picture(image, image.point(lambda level: min(255, level + 25)))
    assert not same_picture(image, image.resize((240, 180)).point(lambda level: min(255, level + 25)))
    assert not same_picture(image, image.point(lambda level: int(128 + (level - 128) * 0.7)))
    red, green, blue = image.split()
    assert not same_picture(image, Image.merge("RGB", (blue, green, red)))
    assert not same_picture(image, image.convert("L").convert("RGB"))


def test_crops_other_shapes_and_pictures_too_small_to_see_text_are_not_the_same() -> None:
    image = page(0)
    assert not same_picture(image, image.crop((0, 0, 800, 1169)))
    assert not same_picture(image, image.resize((827, 1100)))
    assert not same_picture(image, image.resize((103, 146)))
    assert may_be_resized((827, 1169), (413, 584))
    assert not may_be_resized((827, 1169), (413, 580))


def test_one_pixel_and_plain_pictures_can_be_compared() -> None:
    for size in ((1, 1), (1, 40), (3, 2), (40, 3)):
        white, black = (Image.new("RGB", size, colour) for colour in ("white", "black"))
        assert same_picture(white, white)
        assert not same_picture(white, black)


def test_what_is_measured_is_zero_for_the_same_pixels() -> None:
    image = scene(1)
    comparison = compare(image, image)
    assert comparison.same
    assert (comparison.most, comparison.typical, comparison.colour) == (0, 0, 0)
    assert comparison.coherence == pytest.approx(1)
