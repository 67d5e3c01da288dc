"""The picture behind a hit."""

from pathlib import Path

import numpy as np
import pytest

from babelclip.errors import ImageError
from babelclip.media.images import read_image
from babelclip.media.loader import load_image
from tests.helpers.media_files import make_video, zipped


def test_the_picture_behind_a_hit_is_read_wherever_it_is(photos: Path, tmp_path: Path) -> None:
    zipped(tmp_path / "s.zip", photos)
    make_video(tmp_path / "v.mp4")
    member = load_image(f"{tmp_path}/s.zip!/trip/b.png")
    np.testing.assert_array_equal(np.asarray(member), np.asarray(read_image(photos / "b.png")))
    assert load_image(str(photos / "a.jpg")).size == (90, 70)
    for at_ms, grey in ((None, 0), (0, 0), (7000, 140), (60_000, 220)):
        assert abs(np.asarray(load_image(str(tmp_path / "v.mp4"), at_ms))[60, 100].mean() - grey) < 6
    for gone in ("s.zip!/none.jpg", "none.zip!/a.jpg", "none.mp4", "none.jpg"):
        with pytest.raises(ImageError, match=r"(?i)no (such|item)"):
            load_image(f"{tmp_path}/{gone}")
