import json
import os
import signal
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
from PIL import Image
from typer.testing import CliRunner

from babelclip.cli.app import APP
from tests.helpers.media_files import make_video


def run(*arguments: object, code: int = 0) -> tuple[str, str]:
    result = CliRunner().invoke(APP, [str(argument) for argument in arguments])
    assert result.exit_code == code, result.output
    return result.stdout, result.stderr


def rows(text: str) -> list[dict[str, Any]]:
    return [json.loads(line) for line in text.splitlines()]


def test_what_many_files_lack_is_said_once(photos: Path) -> None:
    for i in range(3):
        (photos / f"bad{i}.mp4").write_bytes(b"")
        (photos / f"locked{i}.jpg").symlink_to(photos / "nowhere")
    _, said = run("index", photos)
    assert said.count("No such file") == 1
    assert "(and 2 more like it)" in said


def test_tags_are_set_and_shown(photos: Path) -> None:
    run("index", photos)
    out, _ = run("tag", photos / "inner", "--add", "sea, sun", "--favourite", "--json")
    assert [(row["favourite"], row["tags"]) for row in rows(out)] == [(True, ["sea", "sun"])] * 2
    run("tag", photos / "inner/d.jpeg", "--remove", "sun", "--no-favourite")
    out, _ = run("tag", photos / "inner")
    assert ["d.jpeg" in line and "sun" not in line for line in out.splitlines()[1:]] == [True, False]


def test_a_new_index_can_store_int8_and_an_old_one_says_that_it_does_not(photos: Path, tmp_path: Path) -> None:
    run("index", photos, "--vectors", "int8", "-i", tmp_path / "small.bc")
    out, _ = run("index", photos, "-i", tmp_path / "small.bc", "--json")
    assert rows(out)[0]["unchanged"] == 5
    result = CliRunner().invoke(APP, ["index", str(photos), "--vectors", "float16", "-i", str(tmp_path / "small.bc")])
    assert "--index NEW" in str(result.exception)


@pytest.mark.slow
def test_background_vocabularies_of_likely_languages_are_embedded_after_indexing(
    photos: Path, home: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    run("index", photos)
    assert not (home / "backgrounds").exists()
    for i in range(10):
        Image.new("RGB", (20 + i, 20), (20 * i, 0, 0)).save(photos / f"more{i}.png")
    monkeypatch.setattr("babelclip.cli.index.system_language", lambda known: "de")
    run("index", photos)
    assert {path.stem.rpartition("-")[2] for path in (home / "backgrounds").iterdir()} == {"any", "en", "de"}


def test_videos_are_left_out_where_every_is_0(photos: Path) -> None:
    make_video(photos / "v.mp4", seconds=3)
    assert rows(run("index", photos, "--every", "0", "--json")[0])[0]["added"] == 5
    assert rows(run("index", photos, "--every", "1", "--json")[0])[0]["added"] == 1


def test_watching_says_what_comes_and_ends_with_ctrl_c(photos: Path, home: Path) -> None:
    watching = subprocess.Popen(
        [sys.executable, "-m", "babelclip", "index", photos / "inner", "--watch", "--json"],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        env={**os.environ, "BABELCLIP_HOME": str(home)},
    )
    assert watching.stdout is not None
    assert json.loads(watching.stdout.readline())["added"] == 2
    (photos / "a.jpg").rename(photos / "inner/a.jpg")
    assert json.loads(watching.stdout.readline())["added"] == 1
    watching.send_signal(signal.SIGINT)
    _, said = watching.communicate(timeout=60)
    assert watching.returncode == 130
    assert "what was done is kept, the same command goes on from there" in said
    assert "Traceback" not in said
