"""Videos and RAW pictures in a collection."""

from pathlib import Path

import numpy as np
import pytest

from babelclip.errors import ImageError
from babelclip.indexing.report import IndexReport
from babelclip.media import raw, video
from babelclip.media.images import read_image
from babelclip.media.video import frames, read_video_metadata
from tests.helpers.media_files import make_raw, make_video
from tests.helpers.updating import Update


def test_a_video_has_a_vector_every_few_seconds_with_its_time(update: Update, photos: Path) -> None:
    make_video(photos / "v.mp4")
    assert update().added == 6
    query = "SELECT at_ms FROM vectors JOIN photos USING (content) WHERE path LIKE '%v.mp4' ORDER BY at_ms"
    assert update.catalog.connection.rows(query) == [(0,), (5000,), (10000,)]
    facts = "SELECT kind, width, height, duration_ms FROM contents WHERE kind = 'video'"
    assert update.catalog.connection.rows(facts) == [("video", 160, 96, 12000)]
    assert update.catalog.vectors.count() == 6
    (photos / "v.mp4").rename(photos / "w.mp4")
    assert update().known_content == 1


def test_videos_can_be_left_out_and_stay_if_they_are_in(update: Update, photos: Path) -> None:
    make_video(photos / "v.mp4", seconds=1)
    assert update(every=0).added == 5
    assert update().added == 1
    assert update(every=0) == IndexReport(unchanged=5)
    assert update.catalog.vectors.count() == 6


@pytest.mark.parametrize("every", [1.0, 4.5])
def test_frames_are_those_of_their_times(tmp_path: Path, every: float) -> None:
    make_video(tmp_path / "v.mp4")
    taken = list(frames(str(tmp_path / "v.mp4"), every))
    assert [at for at, _ in taken] == [round(1000 * every * i) for i in range(len(taken))]
    assert len(taken) == (12 if every == 1.0 else 3)
    for at, image in taken:
        grey = np.asarray(image)[60, 100].mean()
        assert abs(grey - at // 1000 * 20) < 6


def test_a_video_is_turned_upright(tmp_path: Path) -> None:
    make_video(tmp_path / "v.mp4", seconds=1, rotate=90)
    ((_, image),) = frames(str(tmp_path / "v.mp4"))
    assert image.size == (96, 160)
    assert image.getpixel((4, 155))[0] > 200  # type: ignore[index]
    facts = read_video_metadata(str(tmp_path / "v.mp4"))
    assert (facts.width, facts.height) == (96, 160)


def test_a_video_that_is_none_is_reported(update: Update, photos: Path) -> None:
    (photos / "v.mp4").write_bytes(b"no video" * 100)
    report = update()
    assert report.added == 5
    ((path, reason),) = report.failed
    assert path.endswith("v.mp4")
    assert "not a video that can be read" in reason


def test_a_raw_picture_is_rendered_and_its_facts_are_of_the_sensor(update: Update, tmp_path: Path) -> None:
    folder = tmp_path / "raw"
    folder.mkdir()
    make_raw(folder / "a.dng", orientation=6)
    image = read_image(folder / "a.dng")
    assert image.size == (240, 320)
    assert image.getpixel((120, 160))[0] > 200  # type: ignore[index]
    assert update(folder).added == 1
    query = "SELECT width, height, taken_at FROM contents"
    assert update.catalog.connection.rows(query) == [(480, 640, "2024-07-31T18:05:09")]
    (folder / "b.cr2").write_bytes(b"no picture" * 50)
    assert "not a RAW file that can be read" in update(folder).failed[0][1]


def test_what_needs_a_missing_package_says_how_to_get_it_and_is_tried_again(
    update: Update, photos: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    make_raw(photos / "a.dng")
    make_video(photos / "v.mp4", seconds=1)
    for module in (raw, video):
        monkeypatch.setattr(module, "find_spec", lambda name: None)
    report = update()
    assert report.added == 5
    assert {reason for _, reason in report.failed} == {
        "rawpy is not installed. Install it with: pip install 'babelclip[raw]'",
        "av is not installed. Install it with: pip install 'babelclip[video]'",
    }
    with pytest.raises(ImageError, match=r"babelclip\[raw\]"):
        read_image(photos / "a.dng")
    monkeypatch.undo()
    report = update()
    assert (report.added, report.failed) == (2, [])


def test_a_video_without_pictures_or_sense_is_named_once(tmp_path: Path) -> None:
    make_video(tmp_path / "v.mp4", seconds=1)
    (tmp_path / "cut.mp4").write_bytes((tmp_path / "v.mp4").read_bytes()[:300])
    with pytest.raises(ImageError) as error:
        list(frames(str(tmp_path / "cut.mp4")))
    assert (
        str(error.value)
        == f"{tmp_path}/cut.mp4: not a video that can be read: Invalid data found when processing input"
    )
