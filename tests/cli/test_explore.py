import json
import re
import shutil
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from babelclip.cli.map_html import EXTENT, Spot, spread, write_map
from babelclip.cli.options import system_language
from tests.cli.test_commands import lines, model, run

pytestmark = pytest.mark.slow

__all__ = ["model"]


@pytest.fixture
def indexed(home: Path, photos: Path, model: Path) -> Path:
    shutil.copy(photos / "a.jpg", photos / "copy of a.jpg")
    run("index", photos, "-m", model, home=home)
    return model


def test_duplicates_lists_copies_prints_paths_and_deletes_nothing(home: Path, photos: Path, indexed: Path) -> None:
    before = {path: path.read_bytes() for path in photos.rglob("*.*")}
    shown = run("duplicates", "-m", indexed, "--alike", "1", home=home)
    assert "6 photos: 1 group that show the same, 1 file " in shown.stdout
    assert "Nothing was deleted" in shown.stdout
    (group,) = lines(run("duplicates", "-m", indexed, "--alike", "1", "--json", home=home).stdout)
    assert [member["why"] for member in group["members"]] == ["best", "copy"]
    assert group["kind"] == "same"
    assert group["spare_bytes"] == (photos / "a.jpg").stat().st_size
    only = run("duplicates", "-m", indexed, "--paths", "--html", home / "d.html", home=home)
    assert only.stdout.splitlines() == [group["members"][1]["path"]]
    assert str(photos / "a.jpg") in (home / "d.html").read_text()
    assert {path: path.read_bytes() for path in photos.rglob("*.*")} == before


@pytest.mark.parametrize("kind", ["zip", "tar"])
def test_photos_in_archives_are_compared_and_shown_but_not_offered_to_be_deleted(
    home: Path, photos: Path, model: Path, kind: str, tmp_path: Path
) -> None:
    packed = Path(shutil.make_archive(str(tmp_path / "packed"), kind, photos))
    run("index", photos, packed, "-m", model, home=home)
    arguments = ("duplicates", "-m", model, "--near", "1", "--alike", "1")
    groups = lines(run(*arguments, "--json", "--html", home / "d.html", home=home).stdout)
    assert len(groups) == 5
    assert all(member["width"] > 0 for group in groups for member in group["members"])
    assert "not there any more" not in (home / "d.html").read_text()
    offered = run(*arguments, "--paths", home=home).stdout.splitlines()
    assert all(Path(path).is_file() for path in offered)


def test_duplicates_of_one_folder_and_of_one_without_photos(home: Path, photos: Path, indexed: Path) -> None:
    inside = run("duplicates", "-m", indexed, "--alike", "1", "--folder", photos / "inner", home=home)
    assert inside.stdout.startswith("2 photos: 0 groups")
    done = run("duplicates", "-m", indexed, "--folder", photos / "none", home=home, code=1)
    assert "the index holds no photos at or below" in done.stderr
    run("duplicates", "-m", indexed, "--paths", "--json", home=home, code=2)


def test_cluster_names_every_photo_once_in_the_language_asked_for(home: Path, photos: Path, indexed: Path) -> None:
    (home / "words.txt").write_text("Hund\n\nKatze\nHund\n")
    arguments = ("cluster", "-m", indexed, "-n", "2", "--words", home / "words.txt", "--language", "de")
    found = lines(run(*arguments, "--json", home=home).stdout)
    assert sum(cluster["size"] for cluster in found) == 6
    assert {path for cluster in found for path in cluster["photos"]} == {str(p) for p in photos.rglob("*.*")}
    assert {word for cluster in found for word in cluster["words"]} <= {"Hund", "Katze"}
    shown = run(*arguments, "--html", home / "c.html", home=home)
    assert "in its middle" in shown.stdout
    assert "2 clusters" in (home / "c.html").read_text()


def test_cluster_refuses_a_language_without_words(home: Path, indexed: Path) -> None:
    done = run("cluster", "-m", indexed, "--language", "xx", home=home, code=1)
    assert "no everyday words in 'xx'" in done.stderr
    done = run("cluster", "-m", indexed, "--words", home / "none.txt", home=home, code=1)
    assert "none.txt cannot be read" in done.stderr


def content(page: Path) -> dict[str, Any]:
    (found,) = re.findall(r"^const data = (.*);$", page.read_text(), flags=re.MULTILINE)
    read: dict[str, Any] = json.loads(found)
    return read


def test_map_writes_one_page_that_fetches_nothing(home: Path, photos: Path, indexed: Path) -> None:
    (home / "words.txt").write_text("Hund\nKatze\n")
    page = home / "maps/map.html"
    done = run("map", page, "-m", indexed, "--thumbnails", "3", "--words", home / "words.txt", home=home)
    assert "map of 6 photos, 3 with a thumbnail inside" in done.stderr
    text = page.read_text()
    assert not re.search(r"(src|href)=|https?:|@import|import\(", text)
    held = content(page)
    assert {held["folder"] + path for path in held["paths"]} == {str(path) for path in photos.rglob("*.*")}
    assert len(held["places"]) == 12
    assert len(held["thumbnails"]) == 3


def test_a_map_of_more_photos_than_asked_for_says_what_is_left_out(home: Path, indexed: Path) -> None:
    (home / "words.txt").write_text("Hund\n")
    done = run("map", home / "m.html", "-m", indexed, "--most", "4", "--words", home / "words.txt", home=home)
    assert "map of 4 photos" in done.stderr
    assert "left out: 2 photos; --most 6 draws all" in done.stderr


def test_a_path_cannot_end_the_script_of_the_page(tmp_path: Path) -> None:
    spots = [Spot(f"/x/{i}</script><b>.jpg", i, i % 2, 0) for i in range(3)]
    assert write_map(tmp_path / "m.html", spots, ["<i>"], 5) == 0
    assert (tmp_path / "m.html").read_text().count("</script>") == 1
    held = content(tmp_path / "m.html")
    assert held["paths"][0] == "0</script><b>.jpg"
    assert held["thumbnails"] == [[i, 0, 0] for i in (0, 1, 2)]
    assert held["places"] == [0, 0, 5000, 6500, 10000, 0]


def test_thumbnails_are_spread_over_the_map() -> None:
    rng = np.random.default_rng(0)
    crowd = rng.integers(0, 300, (500, 2))
    alone = np.array([[9000, 6000], [9500, 100], [200, 6400]])
    order = spread(np.concatenate([crowd, alone]) % (EXTENT + 1))
    assert sorted(order.tolist()) == list(range(503))
    assert {500, 501, 502} <= set(order[:4].tolist())


@pytest.mark.parametrize(
    ("stated", "code"),
    [("de_AT", "de"), ("pt_BR", "pt-br"), ("zh_CN", "zh-cn"), ("nn_NO", "nb"), ("C", "en"), (None, "en")],
)
def test_the_language_is_the_systems_where_it_has_words(
    stated: str | None, code: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("locale.setlocale", lambda *_: None)
    monkeypatch.setattr("locale.getlocale", lambda *_: (stated, "UTF-8"))
    assert system_language(("de", "en", "nb", "pt", "pt-br", "zh-cn")) == code
