"""Commands on names that a terminal, a pipe or a list of files would take for something else."""

import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from babelclip.catalog.records import Photo
from babelclip.cli import output
from babelclip.errors import InputError
from babelclip.explore.duplicates import on_disk
from babelclip.indexing.watch import follow
from babelclip.models.model import Model
from tests.cli.test_commands import lines, model, run

__all__ = ["model"]


def as_indexed(path: Path, at: str = "") -> Photo:
    state = path.stat()
    return Photo(f"{path}{at}", state.st_size, state.st_mtime_ns, bytes(32))


def test_a_file_is_no_duplicate_of_itself_by_a_link_nor_of_what_is_gone_or_changed(tmp_path: Path) -> None:
    real = tmp_path / "m.jpg"
    real.write_bytes(b"1")
    (tmp_path / "a.jpg").symlink_to(real)
    os.link(real, tmp_path / "z.jpg")
    (tmp_path / "folder").symlink_to(tmp_path)
    for name in ("gone.jpg", "changed.jpg", "x.zip"):
        (tmp_path / name).write_bytes(b"12")
    names = ("folder/m.jpg", "a.jpg", "m.jpg", "z.jpg", "gone.jpg", "changed.jpg")
    photos = [as_indexed(tmp_path / name) for name in names]
    photos += [as_indexed(tmp_path / "x.zip", at) for at in ("!/1.jpg", "!/2.jpg")]
    (tmp_path / "gone.jpg").unlink()
    (tmp_path / "changed.jpg").write_bytes(b"123")
    assert [photos[i].path for i in on_disk(photos)] in (
        [str(tmp_path / name) for name in ("m.jpg", "x.zip!/1.jpg", "x.zip!/2.jpg")],
        [str(tmp_path / name) for name in ("z.jpg", "x.zip!/1.jpg", "x.zip!/2.jpg")],
    )


def test_paths_that_could_go_leave_a_file_for_every_picture(home: Path, photos: Path, model: Path) -> None:
    (photos / "0.jpg").symlink_to(photos / "a.jpg")
    shutil.copy(photos / "b.png", photos / "line\nbreak.png")
    shutil.copy(photos / "c.webp", photos / "d.webp")
    run("index", photos, "-m", model, home=home)
    (photos / "c.webp").unlink()
    done = run("duplicates", "-m", model, "--near", "1", "--paths", home=home)
    assert done.stdout == ""
    assert "left out: 2 photos gone or changed" in done.stderr
    assert r"line\nbreak.png' is left out: there is a line break in its name" in done.stderr


def test_tables_show_what_a_terminal_would_act_on_and_take_nothing_for_markup(
    home: Path, photos: Path, model: Path
) -> None:
    (photos / "a.jpg").rename(photos / "e\x1b[31m\n[b].jpg")
    run("index", photos, "-m", model, home=home)
    shown = run("search", "[/b] x [b]y\x1b[0m", "-m", model, home=home).stdout
    assert r"[/b] x [b]y\x1b[0m" in shown
    assert rf"{photos}/e\x1b[31m\n[b].jpg" in shown


def test_a_folder_whose_name_is_not_text_is_reported_and_not_a_traceback(
    home: Path, photos: Path, model: Path, pair: Model, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("PYTHONIOENCODING", "utf-8:strict")
    odd = Path(os.fsdecode(os.fsencode(photos) + b"/d\xe9"))
    (photos / "inner").rename(odd)
    (report,) = lines(run("index", odd, "-m", model, "--json", home=home).stdout)
    assert [reason for _, reason in report["failed"]] == ["its name is not valid UTF-8; rename it"] * 2
    assert r"d\udce9: 0 added" in run("index", odd, "-m", model, home=home).stdout
    assert "is not valid UTF-8" in run("tag", odd, "-m", model, home=home, code=1).stderr
    assert "is not valid UTF-8" in run("search", "x", "--where", f"name:{odd}", "-m", model, home=home, code=1).stderr
    with pytest.raises(InputError, match="not valid UTF-8"):
        next(follow(None, pair, [odd]))  # type: ignore[arg-type]


def test_what_cannot_be_written_is_one_line_that_names_it(home: Path, photos: Path, model: Path) -> None:
    run("index", photos, "-m", model, home=home)
    done = run("search", "x", "--html", photos, "-m", model, home=home, code=1)
    assert done.stderr.splitlines()[-1] == f"error: {photos}: Is a directory"
    done = run("embed", "x", "-o", photos / "none/x.npy", "-m", model, home=home, code=1)
    assert done.stderr.splitlines()[-1] == f"error: {photos}/none/x.npy: No such file or directory"


EARLY = """
import sys
class Pressed:
    def find_spec(self, name, *rest):
        if name == sys.argv[0]:
            raise KeyboardInterrupt
from babelclip.cli import main
sys.meta_path.insert(0, Pressed())
main()
"""


@pytest.mark.parametrize("importing", ["typer", "rich.console", "babelclip.cli.models", "babelclip.models.registry"])
def test_ctrl_c_while_all_is_still_being_imported_is_one_line(importing: str) -> None:
    code = EARLY.replace("sys.argv[0]", repr(importing))
    done = subprocess.run([sys.executable, "-c", code, "models"], capture_output=True, text=True, check=False)
    assert (done.returncode, done.stderr) == (130, "interrupted\n")


def test_one_thing_is_not_called_many() -> None:
    assert [output.counted(n, "photo") for n in (0, 1, 2)] == ["0 photos", "1 photo", "2 photos"]
