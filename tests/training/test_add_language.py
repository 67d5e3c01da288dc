"""Tests of adding languages to a trained model."""

import json
import shutil
from pathlib import Path

from babelclip.models.model import Model
from tests.helpers.command_line import run
from tests.helpers.distillation import command


def test_an_added_language_leaves_the_drift_of_others_within_the_bound(inputs: Path, tmp_path: Path) -> None:
    run(*command(inputs, tmp_path / "base", "--languages", "de", "--samples", 6000, "--learning-rate", "2e-3"))
    shutil.rmtree(tmp_path / "base" / "checkpoints")
    shutil.rmtree(tmp_path / "base" / "start")
    shown = run(
        *("distill", tmp_path / "more", "--student", tmp_path / "base", "--add-language", "xx", "--bound", "0.05"),
        *(
            "--pairs",
            inputs / "pairs",
            "--samples",
            6000,
            "--batch",
            32,
            "--learning-rate",
            "1e-3",
            "--held-out",
            30,
        ),
    )
    assert "xx (new)" in shown
    report = json.loads((tmp_path / "more" / "report.json").read_text(encoding="utf-8"))
    assert max(report["drift"].values()) <= 0.05
    old, new = Model.load(text=tmp_path / "base"), Model.load(text=tmp_path / "more")
    lines = (inputs / "pairs/xx.tsv").read_text(encoding="utf-8").splitlines()[:100]
    sources, texts = zip(*(line.split("\t") for line in lines), strict=True)
    wanted = old.encode_text(sources)
    before, after = ((m.encode_text(texts) * wanted).sum(axis=1).mean() for m in (old, new))
    assert after > before
    known = (inputs / "pairs/de.tsv").read_text(encoding="utf-8").split("\n")[0].split("\t")[1]
    assert (old.encode_text(known) * new.encode_text(known)).sum() > 0.9
