"""Tests of whole distillations: tiny models on artificial languages."""

import json
import os
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from typer.testing import CliRunner

from babelclip.cli.app import APP
from babelclip.errors import InputError
from babelclip.models.model import Model
from babelclip.training.distill import last_checkpoint
from babelclip.vectors import unit_rows
from tests.helpers.command_line import run
from tests.helpers.distillation import command, losses


def test_a_student_approaches_its_teacher(inputs: Path, tmp_path: Path, reference: Any) -> None:
    out = tmp_path / "student"
    shown = run(
        *(
            "distill",
            out,
            "--teacher",
            inputs / "teacher",
            "--student",
            inputs / "bert",
            "--pairs",
            inputs / "pairs",
        ),
        *("--samples", 12000, "--batch", 64, "--learning-rate", "1e-3", "--held-out", 40, "--evaluate-every", 80),
    )
    assert "Translation" in shown
    log = [json.loads(line) for line in (out / "log.jsonl").read_text(encoding="utf-8").splitlines()]
    losses = [entry["loss"] for entry in log if "loss" in entry]
    assert losses[-1] < 0.6 * losses[0]
    # The last step is measured too, or the best of the steps would be one before it.
    assert [entry["step"] for entry in log if "eval_score" in entry] == [80, 160, 188]
    report = json.loads((out / "report.json").read_text(encoding="utf-8"))
    assert report["pairs"].keys() == {"de", "xx"}
    lines = (inputs / "pairs/de.tsv").read_text(encoding="utf-8").splitlines()[:50]
    sources, texts = zip(*(line.split("\t") for line in lines), strict=True)
    student, teacher = Model.load(text=out), Model.load(text=inputs / "teacher")
    untaught = Model.load(text=out / "start")
    wanted = teacher.encode_text(sources, unit=False)
    before, after = (np.square(m.encode_text(texts, unit=False) - wanted).mean() for m in (untaught, student))
    assert after < 0.7 * before
    for name in ("loss.png", "README.md"):
        assert (out / name).stat().st_size > 500
    assert np.allclose(student.encode_text(texts), unit_rows(reference.text_vectors(out, texts)), atol=1e-4)


def test_a_resumed_run_has_the_same_losses(inputs: Path, tmp_path: Path, home: Path) -> None:
    run(*command(inputs, tmp_path / "whole"))
    killed = tmp_path / "killed"
    process = subprocess.Popen([sys.executable, "-m", "babelclip", *command(inputs, killed)], stderr=subprocess.DEVNULL)
    deadline = time.monotonic() + 120
    while last_checkpoint(killed / "checkpoints") is None and time.monotonic() < deadline:
        time.sleep(0.02)
    process.kill()
    process.wait()
    (killed / "checkpoints" / "checkpoint-9999").mkdir()
    run(*command(inputs, killed, "--resume"))
    assert losses(killed) == pytest.approx(losses(tmp_path / "whole"), rel=1e-3)
    texts = ["ijkl mnop", "qrst"]
    ours, theirs = (Model.load(text=out).encode_text(texts) for out in (killed, tmp_path / "whole"))
    assert np.allclose(ours, theirs, atol=1e-3)


def test_dropout_is_the_option_and_0_by_default(inputs: Path, tmp_path: Path) -> None:
    first = {}
    for part in ("0", "0.5", None):
        run(*command(inputs, tmp_path / f"{part}", "--samples", 320, *(("--dropout", part) if part else ())))
        first[part] = losses(tmp_path / f"{part}")[1]
    assert first[None] == first["0"]
    # The Dense layer is fitted to what the student gives without dropout, so noise only makes it worse.
    assert first["0.5"] > 1.05 * first["0"]


def test_a_finished_run_is_not_overwritten(inputs: Path, tmp_path: Path) -> None:
    (tmp_path / "out").mkdir()
    (tmp_path / "out" / "something").touch()
    result = CliRunner().invoke(APP, command(inputs, tmp_path / "out"))
    assert isinstance(result.exception, InputError)
    assert "is there already" in str(result.exception)


def test_two_processes_train_one_student(inputs: Path, tmp_path: Path) -> None:
    arguments = [
        "--nproc-per-node",
        "2",
        "-m",
        "babelclip",
        *command(inputs, tmp_path / "out", "--samples", 640),
    ]
    launched = [sys.executable, "-m", "torch.distributed.run", *arguments]
    done = subprocess.run(launched, capture_output=True, text=True, env={**os.environ, "OMP_NUM_THREADS": "1"})
    assert done.returncode == 0, done.stderr[-3000:]
    assert max(losses(tmp_path / "out")) == 10
    assert Model.load(text=tmp_path / "out").encode_text("ijkl").shape == (24,)
