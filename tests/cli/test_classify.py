import contextlib
import csv
import io
import json
import os
import pty
import subprocess
import sys
from pathlib import Path

import pytest
from typer.testing import CliRunner

from babelclip.cli.app import APP
from babelclip.errors import InputError

pytestmark = pytest.mark.slow


def run(*arguments: object, code: int = 0) -> str:
    result = CliRunner().invoke(APP, ["classify", *(str(argument) for argument in arguments)], catch_exceptions=False)
    assert result.exit_code == code, result.output
    return result.stdout


def test_a_folder_is_classified_as_a_table_with_a_row_a_photo(photos: Path) -> None:
    lines = run(photos, "--labels", "Hund,Katze").splitlines()
    assert len(lines) == 1 + 5
    assert all(line.count("Hund ") + line.count("Katze ") >= 2 for line in lines[1:])


def test_json_has_an_object_a_photo_with_scores_of_sum_one(photos: Path) -> None:
    rows = [json.loads(line) for line in run(photos, "--labels", "dog,cat,bird", "--json").splitlines()]
    assert [Path(row["image"]).name for row in rows] == ["a.jpg", "b.png", "c.webp", "d.jpeg", "e.gif"]
    for row in rows:
        assert row["label"] == row["ranked"][0]["label"]
        assert sum(one["score"] for one in row["ranked"]) == pytest.approx(1, abs=1e-4)
        assert row["holding"] == row["ranked"][:1]
        assert "none" not in row


def test_abstention_answers_none_of_these(photos: Path) -> None:
    output = run(photos, "--labels", "quark,gluon", "--abstain", "0.01", "--json")
    rows = [json.loads(line) for line in output.splitlines()]
    assert all(row["label"] is None and row["none"] > 0.01 for row in rows)
    lines = run(photos, "--labels", "quark,gluon", "--abstain", "0.01").splitlines()
    assert all(line.count("none of these ") == 2 for line in lines[1:])


def test_csv_has_one_row_per_label(photos: Path, tmp_path: Path) -> None:
    (tmp_path / "labels.txt").write_text("animal\n  dog\n  cat\n", encoding="utf-8")
    output = run(photos / "a.jpg", "--labels-file", tmp_path / "labels.txt", "--csv", "--no-templates")
    rows = list(csv.DictReader(io.StringIO(output)))
    assert [row["rank"] for row in rows] == ["1", "2", "3"]
    assert rows[0]["label"] == "animal"
    assert {row["label"] for row in rows[1:]} == {"animal > dog", "animal > cat"}
    assert all(float(row["none"]) + float(rows[0]["score"]) == pytest.approx(1, abs=1e-5) for row in rows)


def test_examples_refine_labels_and_their_effect_is_reported(photos: Path, tmp_path: Path) -> None:
    command = ["classify", str(photos), "--labels", "x,y", "--examples", str(tmp_path / "examples")]
    messages = []
    for label, name in (("x", "a.jpg"), ("y", "b.png"), ("x", "c.webp")):
        (tmp_path / "examples" / label).mkdir(parents=True, exist_ok=True)
        picture = next(photos.rglob(name))
        (tmp_path / "examples" / label / name).write_bytes(picture.read_bytes())
        result = CliRunner().invoke(APP, command)
        assert result.exit_code == 0
        messages.append(result.stderr)
    assert "2 examples of 2 labels; weight 0.5; no label has two examples" in messages[1]
    assert "3 examples of 2 labels; weight" in messages[2]
    assert "leave-one-out over 2 examples" in messages[2]


def test_a_broken_photo_is_named_the_rest_answered_and_the_exit_code_is_1(photos: Path) -> None:
    (photos / "b.png").write_bytes(b"broken")
    result = CliRunner().invoke(APP, ["classify", str(photos), "--labels", "dog,cat", "--json"])
    assert result.exit_code == 1
    assert "b.png" in result.stderr
    assert len(result.stdout.splitlines()) == 4


@pytest.mark.parametrize(
    "options",
    [
        (),
        ("--labels", "a", "--labels-file", "b"),
        ("--labels", "a", "--json", "--csv"),
        ("--labels", "a", "--template", "x {}", "--no-templates"),
        ("--labels", "a", "--top", "0"),
        ("--labels", "a", "--examples", "x", "--temperature", "2"),
        ("--labels", "a", "--examples", "x", "--label-smoothing", "0"),
        ("--labels", "a", "--label-smoothing", "0.7"),
    ],
)
def test_options_that_exclude_each_other_are_wrong_usage(photos: Path, options: tuple[str, ...]) -> None:
    run(photos, *options, code=2)


def test_a_folder_without_photos_is_an_error(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="no photos"):
        run(tmp_path, "--labels", "dog")


def test_json_goes_to_stdout_while_the_bar_is_on_a_terminal(photos: Path, tmp_path: Path) -> None:
    terminal, bar = pty.openpty()
    command = [sys.executable, "-m", "babelclip", "classify", str(photos), "--labels", "dog,cat", "--json"]
    with (tmp_path / "out.jsonl").open("w") as out:
        running = subprocess.Popen(command, stdout=out, stderr=bar)
    os.close(bar)
    # A terminal that nobody reads is full after some refreshes of the bar, and whoever writes then waits.
    with contextlib.suppress(OSError):
        while os.read(terminal, 4096):
            pass
    os.close(terminal)
    assert running.wait() == 0
    assert len((tmp_path / "out.jsonl").read_text(encoding="utf-8").splitlines()) == 5


def test_the_identified_language_is_reported(photos: Path) -> None:
    for labels, message in (("Hund,Katze,Pferd", "language of the labels: German"), ("blorp,flumph", "is uncertain")):
        result = CliRunner().invoke(APP, ["classify", str(photos / "a.jpg"), "--labels", labels])
        assert message in result.stderr
