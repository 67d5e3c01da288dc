import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from babelclip.settings import settings


def run(*arguments: str | Path, home: Path, stdin: str = "", code: int = 0) -> subprocess.CompletedProcess[str]:
    done = subprocess.run(
        [sys.executable, "-m", "babelclip", *map(str, arguments)],
        capture_output=True,
        text=True,
        input=stdin,
        env={**os.environ, "BABELCLIP_HOME": str(home), "PYTHONUTF8": "1"},
        check=False,
    )
    assert done.returncode == code, done.stderr
    assert "Traceback" not in done.stderr
    return done


@pytest.fixture
def model(text_folder: Path, clip_folder: Path, tmp_path: Path) -> Path:
    """A tiny pair as one babelclip folder."""
    from babelclip.models.export import export_folder
    from babelclip.models.registry import ModelFolders

    export_folder(ModelFolders("tiny", text_folder, clip_folder, {}), tmp_path / "tiny")
    return tmp_path / "tiny"


@pytest.fixture
def indexed(home: Path, photos: Path, model: Path) -> Path:
    run("index", photos, "-m", model, home=home)
    return model


def lines(text: str) -> list[dict[str, Any]]:
    return [json.loads(line) for line in text.splitlines()]


def test_index_says_what_it_did_and_keeps_its_file_in_the_data_folder(home: Path, photos: Path, model: Path) -> None:
    (photos / "bad.jpg").write_text("x")
    done = run("index", photos, "-m", model, home=home)
    assert "5 added" in done.stdout
    assert "1 could not be read" in done.stdout
    assert "bad.jpg: not a picture in a known format" in done.stderr
    assert settings().index.is_file()
    assert "The index holds 5 photos, 1 more could not be read." in done.stdout
    (report,) = lines(run("index", photos, "-m", model, "--json", home=home).stdout)
    assert report["unchanged"] == 6


def test_search_prints_ranked_files_with_scores(home: Path, indexed: Path) -> None:
    done = run("search", "собака на пляже", "-k", "2", "-m", indexed, home=home)
    assert "собака на пляже" in done.stdout
    rows = [line.split() for line in done.stdout.splitlines()[2:]]
    assert [row[0] for row in rows] == ["1", "2"]
    assert float(rows[0][1]) >= float(rows[1][1])
    assert Path(rows[0][2]).is_file()


def test_json_gives_one_object_a_line_and_nothing_else(home: Path, indexed: Path, tmp_path: Path) -> None:
    (tmp_path / "q.txt").write_text("a dog\n\nכלב\n")
    done = run("search", "--from", tmp_path / "q.txt", "-k", "3", "--json", "-m", indexed, home=home)
    rows = lines(done.stdout)
    assert [row["query"] for row in rows] == ["a dog"] * 3 + ["כלב"] * 3
    assert set(rows[0]) == {"query", "rank", "path", "score"}


def test_a_contact_sheet_holds_the_thumbnails_and_escapes_what_it_shows(
    home: Path, indexed: Path, tmp_path: Path, photos: Path
) -> None:
    (photos / "a.jpg").unlink()
    sheet = tmp_path / "out/sheet.html"
    run("search", "<script>alert(1)</script> כלב", "--html", sheet, "-m", indexed, home=home)
    page = sheet.read_text()
    assert page.count("data:image/jpeg;base64,") == 4
    assert "not there any more" in page
    assert "<script>" not in page
    assert 'dir="auto"' in page


def test_similar_finds_other_photos(home: Path, indexed: Path, photos: Path) -> None:
    rows = lines(run("similar", photos / "b.png", "--json", "-m", indexed, home=home).stdout)
    assert len(rows) == 4
    assert str(photos / "b.png") not in {row["path"] for row in rows}


def test_without_an_index_search_says_how_to_make_one(home: Path, model: Path) -> None:
    done = run("search", "a dog", "-m", model, home=home, code=1)
    assert "make one with: babelclip index FOLDER" in done.stderr
    assert not settings().index.exists()


def test_an_index_of_another_model_says_the_way_out(home: Path, indexed: Path, clip_folder: Path) -> None:
    assert "--index NEW" in run("search", "a", "-m", clip_folder, home=home, code=1).stderr


def test_a_missing_folder_fails_before_anything_is_made(home: Path, tmp_path: Path) -> None:
    assert "nowhere: no such file or folder" in run("index", tmp_path / "nowhere", home=home, code=1).stderr
    assert not home.exists()


@pytest.mark.parametrize(
    "arguments",
    [
        ["search"],
        ["search", "a", "--from", "b"],
        ["embed"],
        ["embed", "a", "-o", "x.csv"],
        ["index"],
        ["fly"],
        ["search", "a", "-k", "0"],
        ["evaluate"],
        ["evaluate", "--captions", "c.tsv"],
        ["pull", "clip-ViT-B-32-multilingual-v1", "--revision", "main"],
    ],
)
def test_wrong_usage_exits_with_2(home: Path, arguments: list[str]) -> None:
    assert run(*arguments, home=home, code=2).stderr


def test_embed_writes_the_same_vectors_in_every_form(home: Path, model: Path, tmp_path: Path) -> None:
    import pyarrow.parquet as pq

    texts = ["ein Hund", "a\tdog", "狗"]
    files = [tmp_path / f"v{suffix}" for suffix in (".npy", ".jsonl", ".parquet")]
    for file in files:
        run("embed", *texts, "-o", file, "-m", model, home=home)
    array = np.load(files[0])
    assert array.shape == (3, 24)
    assert files[0].with_suffix(".txt").read_text().splitlines() == texts
    rows = lines(files[1].read_text())
    assert [row["text"] for row in rows] == texts
    np.testing.assert_allclose([row["vector"] for row in rows], array, atol=1e-6)
    table = pq.read_table(files[2]).to_pydict()
    assert table["text"] == texts
    np.testing.assert_allclose(table["vector"], array, atol=1e-6)
    shown = lines(run("embed", "--texts-from", "-", "-m", model, home=home, stdin="\n".join(texts)).stdout)
    np.testing.assert_allclose([row["vector"] for row in shown], array, atol=1e-6)


def test_embed_leaves_bad_images_out_names_them_and_fails(
    home: Path, model: Path, photos: Path, tmp_path: Path
) -> None:
    (photos / "bad.jpg").write_text("x")
    done = run("embed", "--images", photos, "-o", tmp_path / "v.jsonl", "-m", model, home=home, code=1)
    assert "bad.jpg" in done.stderr
    assert len(lines((tmp_path / "v.jsonl").read_text())) == 5


def test_models_lists_names_and_verify_finds_damage(home: Path) -> None:
    rows = {row["name"]: row for row in lines(run("models", "--verify", "--json", home=home).stdout)}
    assert rows["mini"]["damaged"] == []
    assert rows["clip-ViT-B-32-multilingual-v1"]["folder"] is None
    folder = home / "models/owner--model"
    folder.mkdir(parents=True)
    (folder / "pulled.json").write_text('{"repository": "owner/model", "commit": "c", "files": {"w.bin": "00"}}')
    assert "owner/model: w.bin" in run("models", "--verify", home=home, code=1).stderr


@pytest.mark.slow
def test_doctor_tells_runtimes_and_remarks_and_how_each_tower_runs(home: Path, clip_folder: Path) -> None:
    (report,) = lines(run("doctor", "--json", home=home).stdout)
    assert report["runtimes"]["openvino"] == "ready"
    assert report["remarks"]
    for tower in report["towers"].values():
        assert tower["precision"] in ("int8", "bfloat16", "float32")
        assert ("the model is calibrated" in tower["why"]) == (tower["precision"] == "int8")
    (plain,) = lines(run("doctor", "--json", "-m", clip_folder, home=home).stdout)
    assert plain["towers"]["text"] == {
        "precision": "float32" if "BF16" not in plain["capabilities"] else "bfloat16",
        "why": plain["towers"]["image"]["why"],
    }
    assert "not calibrated" in plain["towers"]["text"]["why"]
    shown = run("doctor", "-m", clip_folder, "--precision", "int8", home=home).stdout
    assert "runtime" in shown
    assert "text tower: does not run, because the model was not calibrated" in shown


def test_a_command_imports_only_what_it_needs(home: Path) -> None:
    code = (
        "import sys; from babelclip.cli import main\n"
        "try: main()\n"
        "except SystemExit: pass\n"
        "print(*sorted({'numpy', 'onnx', 'openvino', 'faiss', 'PIL', 'typer'} & sys.modules.keys()))"
    )

    def imported(*arguments: str) -> list[str]:
        done = subprocess.run([sys.executable, "-c", code, *arguments], capture_output=True, text=True, check=True)
        return done.stdout.splitlines()[-1].split()

    assert imported("--version") == ["typer"]
    assert not {"onnx", "openvino", "faiss"} & set(imported("models"))
    assert not {"onnx", "openvino", "faiss"} & set(imported("embed", "--help"))
    script = "import sys, babelclip; print(len({'numpy', 'onnx', 'typer', 'PIL'} & sys.modules.keys()))"
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=True)
    assert done.stdout == "0\n"


def test_export_writes_a_folder_that_loads(home: Path, model: Path, tmp_path: Path) -> None:
    run("export", model, tmp_path / "out", "--weights", "float16", home=home)
    assert json.loads((tmp_path / "out/babelclip.json").read_text())["storage"] == "float16"
    assert "is there already" in run("export", model, tmp_path / "out", home=home, code=1).stderr


def test_evaluate_prints_and_writes_the_table(home: Path, model: Path, photos: Path, tmp_path: Path) -> None:
    captions = tmp_path / "c.tsv"
    captions.write_text("image\tlang\tkind\tcaption\na\ten\thuman\tone\nb\tde\thuman\tzwei\nc\ten\thuman\tthree\n")
    arguments = ("evaluate", "--images", photos, "--captions", captions, "-m", model)
    (en,) = [row for row in lines(run(*arguments, "--json", home=home).stdout) if row["language"] == "en"]
    assert (en["count"], en["subject"], en["T>I R@10"]) == (2, "5 pictures", [1.0, 1.0, 1.0])
    (tmp_path / "pairs").mkdir()
    (tmp_path / "pairs/de.tsv").write_text("one\teins\ntwo\tzwei\n")
    (tmp_path / "names.json").write_text('{"EN": [[0, 1], ["one", "two"]], "wnids": ["a", "b"]}')
    all_three = (*arguments, "--pairs", tmp_path / "pairs", "--zero-shot", tmp_path / "names.json", "--only", "a,b")
    done = run(*all_three, "--markdown", tmp_path / "q.md", "--plots", tmp_path / "plots", home=home)
    assert "mean of 2" in done.stdout
    page = (tmp_path / "q.md").read_text()
    assert "| en English | 1 |" in page
    assert page.index("## Retrieval") < page.index("## Zero-shot classification") < page.index("## Translation")
    names = {"retrieval.png", "zero-shot-classification.png", "translation.png"}
    assert {path.name for path in (tmp_path / "plots").iterdir()} == names
    rows = lines(run(*arguments, "--languages", "de", "--json", home=home).stdout)
    assert [row["language"] for row in rows] == ["de"]


@pytest.mark.torch
def test_benchmark_parity_compares_each_tower(home: Path, reference_clip_folder: Path) -> None:
    options = ("--model", reference_clip_folder, "--runtimes", "openvino", "--json")
    rows = lines(run("benchmark", "parity", *options, home=home).stdout)
    assert [row["holds"] for row in rows] == [True, True]


def test_pull_offline_says_what_to_do(home: Path) -> None:
    done = subprocess.run(
        [sys.executable, "-m", "babelclip", "pull", "owner/model"],
        capture_output=True,
        text=True,
        env={**os.environ, "BABELCLIP_HOME": str(home), "HF_ENDPOINT": "http://127.0.0.1:9"},
        check=False,
    )
    assert done.returncode == 1
    assert "cannot pull owner/model" in done.stderr
    assert "Traceback" not in done.stderr


def test_version_and_help(home: Path) -> None:
    from babelclip import __version__

    assert run("--version", home=home).stdout.strip() == __version__
    shown = run("--help", home=home).stdout
    for command in ("index", "search", "similar", "embed", "pull", "models", "export", "doctor", "evaluate"):
        assert command in shown
