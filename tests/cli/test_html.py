import base64
import io
import re
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from babelclip.cli.contact_sheet import write_contact_sheet
from babelclip.cli.html import readable
from babelclip.search.hits import Hit
from tests.helpers.media_files import make_video


def test_a_contact_sheet_says_how_sure_a_hit_is_and_shows_the_frame_that_was_found(tmp_path: Path) -> None:
    make_video(tmp_path / "v.mp4", seconds=6)
    hits = [
        Hit(1, str(tmp_path / "v.mp4"), 0.4, 0.93, 4000),
        Hit(2, "/gone/<b>.jpg", 0.3, 0.1, alike=("/gone/c.jpg",)),
        Hit(3, "/gone/d.jpg", 0.25),
    ]
    write_contact_sheet(tmp_path / "s.html", [("חוף", hits)])
    text = (tmp_path / "s.html").read_text()
    for said in ("strong match, 93%", "at 4.0 s", "no match, 10%", "and 1 alike", "cosine 0.250", "&lt;b&gt;.jpg"):
        assert said in text, said
    (inside,) = re.findall(r"data:image/jpeg;base64,([^\"]+)", text)
    frame = Image.open(io.BytesIO(base64.b64decode(inside)))
    assert abs(np.asarray(frame)[60, 100].mean() - 80) < 8
    assert text.count("not there any more") == 2


@pytest.mark.parametrize(("size", "said"), [(0, "0 KB"), (1, "1 KB"), (61_361, "62 KB"), (3_210_000, "3.2 MB")])
def test_sizes_are_said_in_thousands(size: int, said: str) -> None:
    assert readable(size) == said
