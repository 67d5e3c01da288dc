import os
import shutil
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from babelclip.benchmark.samples import ALL
from babelclip.models import compiled_cache
from babelclip.models.model import Model
from babelclip.models.towers import Towers
from babelclip.settings import settings


@pytest.fixture
def built(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """The towers for which a graph was written."""
    found: list[str] = []
    write: Callable[..., object] = Towers._graph

    def count(self: Towers, tower: str, *rest: object) -> object:
        found.append(tower)
        return write(self, tower, *rest)

    monkeypatch.setattr(Towers, "_graph", count)
    return found


def blobs() -> list[Path]:
    return sorted(settings().compiled.glob("*.blob"))


def test_the_second_process_maps_what_the_first_compiled(text_folder: Path, built: list[str]) -> None:
    first = Model.load(text=text_folder).encode_text(ALL)
    second = Model.load(text=text_folder).encode_text(ALL)
    assert built == ["text"]
    assert len(blobs()) == 1
    assert list(settings().compiled.iterdir()) == blobs()
    np.testing.assert_array_equal(first, second)


def test_a_kept_tower_needs_no_onnx(text_folder: Path) -> None:
    code = (
        "import sys; from babelclip import Model;"
        f"Model.load(text={str(text_folder)!r}).encode('a dog'); print('onnx' in sys.modules)"
    )
    said = [subprocess.run([sys.executable, "-c", code], capture_output=True, check=True).stdout for _ in range(2)]
    assert [word.strip() for word in said] == [b"True", b"False"]


@pytest.mark.parametrize("damage", ["cut", "changed", "empty", "noise"])
def test_a_damaged_file_is_made_anew(text_folder: Path, built: list[str], damage: str) -> None:
    wanted = Model.load(text=text_folder).encode_text(ALL)
    (path,) = blobs()
    whole = path.read_bytes()
    middle = len(whole) // 2
    path.write_bytes(
        {
            "cut": whole[:middle],
            "changed": whole[:middle] + bytes([whole[middle] ^ 1]) + whole[middle + 1 :],
            "empty": b"",
            "noise": np.random.default_rng(0).bytes(len(whole)),
        }[damage]
    )
    np.testing.assert_array_equal(Model.load(text=text_folder).encode_text(ALL), wanted)
    assert built == ["text", "text"]
    assert compiled_cache.read_sealed(path) is not None


def test_a_sound_file_that_the_engine_refuses_is_made_anew(text_folder: Path, built: list[str], tmp_path: Path) -> None:
    wanted = Model.load(text=text_folder).encode_text(ALL)
    (path,) = blobs()
    (tmp_path / "words").write_bytes(b"no compiled graph at all" * 100)
    compiled_cache.seal(tmp_path / "words", 0, path)
    np.testing.assert_array_equal(Model.load(text=text_folder).encode_text(ALL), wanted)
    assert built == ["text", "text"]


def test_another_file_thread_count_or_precision_is_another_tower(text_folder: Path, built: list[str]) -> None:
    Model.load(text=text_folder).encode_text("a")
    Model.load(text=text_folder, threads=1).encode_text("a")
    Model.load(text=text_folder, precision="bfloat16").encode_text("a")
    (text_folder / "config.json").touch()
    Model.load(text=text_folder).encode_text("a")
    assert built == ["text"] * 4
    assert len(blobs()) == 4


def test_the_limit_deletes_what_was_used_longest_ago(
    text_folder: Path, monkeypatch: pytest.MonkeyPatch, built: list[str]
) -> None:
    for threads in (1, 2):
        Model.load(text=text_folder, threads=threads).encode_text("a")
    sizes = {path: path.stat().st_size for path in blobs()}
    monkeypatch.setattr(type(settings()), "cache_bytes", max(sizes.values()) * 5 // 2)
    Model.load(text=text_folder, threads=1).encode_text("a")
    Model.load(text=text_folder, threads=3).encode_text("a")
    Model.load(text=text_folder, threads=1).encode_text("a")
    assert built == ["text"] * 3
    assert len(blobs()) == 2


def test_what_a_killed_process_left_is_cleared_away_after_a_day(text_folder: Path) -> None:
    old, new = settings().compiled / "new-old", settings().compiled / "new-new"
    for folder in (old, new):
        folder.mkdir(parents=True)
        (folder / "weights").write_bytes(b"half")
    os.utime(old, (0, 0))
    Model.load(text=text_folder).encode_text("a")
    assert not old.exists()
    assert new.exists()


def test_a_limit_of_0_keeps_nothing(text_folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("BABELCLIP_CACHE_MIB", "0")
    settings.cache_clear()
    assert Model.load(text=text_folder).encode_text("a").shape == (24,)
    assert not settings().compiled.exists()


def test_a_home_that_cannot_be_written_is_done_without(text_folder: Path, home: Path) -> None:
    home.write_text("a file where the folder should be")
    assert Model.load(text=text_folder).encode_text("a").shape == (24,)


@pytest.mark.skipif(not Path("/proc/self/smaps").is_file(), reason="Linux tells what is resident")
def test_the_mapped_file_leaves_memory_once_the_weights_are_laid_out(text_folder: Path) -> None:
    Model.load(text=text_folder).encode_text(["a"])
    model = Model.load(text=text_folder)
    first = model.encode_text(["a"])
    (blob,) = blobs()
    assert resident_bytes(blob) == 0
    np.testing.assert_array_equal(model.encode_text(["a"]), first)


def resident_bytes(path: Path) -> int:
    """How much of a mapped file is in this process's memory."""
    found, mine = 0, False
    for line in Path("/proc/self/smaps").read_text(encoding="utf-8").splitlines():
        name = line.split()[0]
        if not name.endswith(":"):
            mine = line.endswith(str(path))
        elif name == "Rss:" and mine:
            found += 1024 * int(line.split()[1])
    return found


def test_a_changed_file_of_the_graphs_changes_the_key(
    text_folder: Path, built: list[str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    package, weights = compiled_cache.GRAPH_CODE
    assert (package / "text_tower.py").is_file()
    assert (package / "image_tower.py").is_file()
    assert weights.is_file()
    copy = tmp_path / "graphs"
    shutil.copytree(package, copy)
    monkeypatch.setattr(compiled_cache, "GRAPH_CODE", (copy, weights))
    Model.load(text=text_folder).encode_text(ALL)
    Model.load(text=text_folder).encode_text(ALL)
    assert built == ["text"]
    (copy / "layers.py").write_text((copy / "layers.py").read_text() + "\n# another version\n")
    Model.load(text=text_folder).encode_text(ALL)
    assert built == ["text", "text"]
    assert len(blobs()) == 2
