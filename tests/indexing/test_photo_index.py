import hashlib
import os
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from babelclip.errors import InputError
from babelclip.indexing.report import IndexProgress
from babelclip.models.model import Model
from babelclip.search.index import Index


@pytest.fixture
def index(tmp_path: Path, pair: Model) -> Iterator[Index]:
    with Index.open(tmp_path / "photos.bc", pair) as opened:
        yield opened


def test_a_second_run_does_nothing_and_changes_are_followed(index: Index, photos: Path) -> None:
    index.add_folder(photos)
    report = index.add_folder(photos)
    assert (report.added, report.unchanged) == (0, 5)
    (photos / "a.jpg").unlink()
    shutil.move(photos / "b.png", photos / "moved.png")
    shutil.copy(photos / "c.webp", photos / "copy.webp")
    Image.new("RGB", (9, 9), "red").save(photos / "inner/e.gif")
    Image.new("RGB", (9, 9), "blue").save(photos / "new.jpg")
    report = index.add_folder(photos)
    assert (report.added, report.known_content, report.unchanged, report.removed) == (2, 2, 2, 2)
    assert index.search(photos / "new.jpg", k=1)[0].path == str(photos / "new.jpg")
    assert len(index) == 6


def test_copies_that_come_together_are_encoded_once(tmp_path: Path, pair: Model, photos: Path) -> None:
    for i in range(6):
        shutil.copy(photos / "a.jpg", photos / f"copy{i}.jpg")
    drawn: list[Path] = []
    original = pair.stream_images

    class Watching:
        def __getattr__(self, name: str) -> object:
            return getattr(pair, name)

        def stream_images(self, images: Iterator[tuple[bytes, Path]]) -> object:
            def watched() -> Iterator[tuple[bytes, Path]]:
                for tag, image in images:
                    drawn.append(image)
                    yield tag, image

            return original(watched())

    with Index.open(tmp_path / "p.bc", Watching()) as index:  # type: ignore[arg-type]
        report = index.add_folder(photos)
        assert len(index) == 11
        assert report.added + report.known_content == 11
    assert len(drawn) == 5


def test_bad_files_are_reported_by_name_and_lose_nothing(index: Index, photos: Path) -> None:
    good = (photos / "a.jpg").read_bytes()
    (photos / "truncated.jpg").write_bytes(good[: len(good) // 2])
    (photos / "empty.png").touch()
    (photos / "text.jpg").write_text("not a picture")
    (photos / "dangling.jpg").symlink_to(photos / "nowhere")
    report = index.add_folder(photos)
    assert report.added == 5
    assert {Path(path).name for path, _ in report.failed} == {"truncated.jpg", "empty.png", "text.jpg", "dangling.jpg"}
    assert all(reason for _, reason in report.failed)
    assert len(index.failures()) == 4
    again = index.add_folder(photos)
    assert (again.added, again.unchanged, len(again.failed)) == (0, 8, 1)
    (photos / "text.jpg").write_bytes(good)
    assert index.add_folder(photos).known_content == 1
    assert len(index.failures()) == 3


def test_a_name_that_is_not_utf8_is_reported(index: Index, photos: Path) -> None:
    shutil.copy(os.fsencode(photos / "a.jpg"), os.fsencode(photos) + b"/\xff\xfe.jpg")
    report = index.add_folder(photos)
    assert report.added == 5
    assert [reason for _, reason in report.failed] == ["its name is not valid UTF-8; rename it"]


def test_hidden_files_and_other_kinds_are_passed_over(index: Index, photos: Path) -> None:
    (photos / ".hidden").mkdir()
    shutil.copy(photos / "a.jpg", photos / ".hidden/x.jpg")
    shutil.copy(photos / "a.jpg", photos / ".x.jpg")
    (photos / "notes.txt").write_text("hello")
    assert index.add_folder(photos).added == 5


def test_a_single_file_and_a_loop_of_links_are_fine(index: Index, photos: Path) -> None:
    assert index.add_folder(photos / "a.jpg").added == 1
    (photos / "inner/loop").symlink_to(photos, target_is_directory=True)
    report = index.add_folder(photos)
    assert (report.added, report.unchanged) == (4, 1)


def test_a_folder_that_is_gone_is_an_error_and_forgets_nothing(index: Index, photos: Path, tmp_path: Path) -> None:
    index.add_folder(photos)
    photos.rename(tmp_path / "unplugged")
    with pytest.raises(InputError, match="no such file or folder"):
        index.add_folder(photos)
    assert len(index) == 5


def test_two_folders_do_not_forget_each_other(index: Index, photos: Path, tmp_path: Path) -> None:
    shutil.copytree(photos, tmp_path / "photos2")
    Image.new("RGB", (9, 9), "red").save(tmp_path / "photos2/extra.jpg")
    index.add_folder(photos)
    report = index.add_folder(tmp_path / "photos2")
    assert (report.added, report.known_content, report.removed) == (1, 5, 0)
    assert len(index) == 11


def test_progress_ends_at_the_total(index: Index, photos: Path) -> None:
    seen: list[IndexProgress] = []
    index.add_folder(photos, progress=seen.append)
    assert [state.done for state in seen] == [1, 2, 3, 4, 5]
    assert {state.total for state in seen} == {5}


RUN = """
import sys
from babelclip.models.model import Model
from babelclip.search.index import Index
with Index.open(sys.argv[1], Model.load(text=sys.argv[2], image=sys.argv[3])) as index:
    index.add_folder(sys.argv[4], progress=lambda state: print(state.done, flush=True))
"""


@pytest.mark.slow
@pytest.mark.parametrize("how", [signal.SIGKILL, signal.SIGINT])
def test_a_run_that_is_ended_at_any_moment_goes_on_where_it_was(
    tmp_path: Path, text_folder: Path, clip_folder: Path, how: signal.Signals
) -> None:
    rng = np.random.default_rng(0)
    folder = tmp_path / "many"
    folder.mkdir()
    for i in range(600):
        Image.fromarray(rng.integers(0, 256, (40, 40, 3), dtype=np.uint8)).save(folder / f"{i:03}.png")
    model = Model.load(text=text_folder, image=clip_folder)
    arguments = [str(tmp_path / "p.bc"), str(text_folder), str(clip_folder), str(folder)]
    saved = 0
    for stop_at in (1, 300):
        run = subprocess.Popen(
            [sys.executable, "-c", RUN, *arguments], stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True
        )
        assert run.stdout is not None
        for line in run.stdout:
            if int(line) >= stop_at + saved:
                run.send_signal(how)
                break
        run.stdout.close()
        run.wait()
        with Index.open(arguments[0], model) as index:
            assert len(index) >= saved
            saved = len(index)
            assert len(index.search("a dog", k=600)) == saved
    assert 0 < saved < 600
    with Index.open(arguments[0], model) as index:
        report = index.add_folder(folder)
        assert report.unchanged == saved
        assert report.added == 600 - saved
        assert {hit.path for hit in index.search("a", k=600)} == {str(path) for path in folder.iterdir()}


def test_a_file_that_changes_while_it_is_read_is_not_stored_under_its_old_content(
    index: Index, photos: Path, monkeypatch: pytest.MonkeyPatch, pair: Model
) -> None:
    original = Model.stream_images

    first = hashlib.sha256((photos / "a.jpg").read_bytes()).digest()

    def touching(self: Model, images: Iterator[tuple[bytes, Path]]) -> Iterator[object]:
        for digest, vector in original(self, images):
            if digest == first:
                time.sleep(0.01)
                Image.new("RGB", (9, 9), "red").save(photos / "a.jpg")
            yield digest, vector

    monkeypatch.setattr(Model, "stream_images", touching)
    report = index.add_folder(photos)
    monkeypatch.undo()
    assert report.added == 4
    assert [reason for _, reason in report.failed] == ["changed while it was read; run again"]
    assert index.add_folder(photos).added == 1
