"""Making students, keeping teachers' vectors, distilling and aligning: tiny models on made languages."""

import json
import os
import shutil
import subprocess
import sys
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from typer.testing import CliRunner

from babelclip.checkpoints.layouts import read_text_spec
from babelclip.cli.app import APP
from babelclip.errors import DataError, InputError, LayoutError
from babelclip.models.model import Model
from babelclip.training.distill import last_checkpoint
from babelclip.training.student import fit_dense, load_tokenizer, make_student, parse_layers, write_dense
from babelclip.training.teacher import Ensemble, read_vectors
from babelclip.training.vector_cache import VectorStore
from babelclip.training.vocabulary import choose_tokens, count_tokens, prune_tokenizer
from babelclip.vectors import FloatArray, unit_rows


def run(*arguments: object) -> str:
    result = CliRunner().invoke(APP, [str(argument) for argument in arguments], catch_exceptions=False)
    assert result.exit_code == 0, result.output
    return result.stdout


@pytest.mark.parametrize(
    ("option", "chosen"), [("", [0, 1, 2, 3]), ("2", [0, 1]), ("0,3", [0, 3]), ("3,", None), ("5", None), ("2,1", None)]
)
def test_layers_are_a_number_or_places(option: str, chosen: list[int] | None) -> None:
    if chosen is None:
        with pytest.raises(InputError, match=r"layers|neither"):
            parse_layers(option, 4)
    else:
        assert parse_layers(option, 4) == chosen


@pytest.mark.parametrize("family", ["teacher", "bert", "xlm-roberta"])
def test_a_student_of_all_layers_gives_the_pooled_vectors_of_its_base(
    school: Path, tmp_path: Path, family: str, reference: Any
) -> None:
    make_student(school / family, tmp_path / "student")
    texts = ["abc def", "ijkl", ""]
    spec = read_text_spec(school / family)
    model = Model.load(text=tmp_path / "student")
    weight = np.random.default_rng(0).standard_normal((7, spec.transformer.width)).astype(np.float32)
    pooled = model.encode_text(texts, unit=False)
    write_dense(tmp_path / "student", weight, np.ones(7, np.float32))
    headed = Model.load(text=tmp_path / "student").encode_text(texts, unit=False)
    assert np.allclose(headed, pooled @ weight.T + 1, atol=1e-4)
    assert np.allclose(headed, reference.text_vectors(tmp_path / "student", texts), atol=1e-4)


def test_a_student_keeps_the_layers_that_it_is_told_to(school: Path, tmp_path: Path) -> None:
    make_student(school / "bert", tmp_path / "student", layers="1")
    assert read_text_spec(tmp_path / "student").transformer.layers == 1
    with pytest.raises(InputError, match="is there already"):
        make_student(school / "bert", tmp_path / "student")


def test_clip_cannot_be_a_student(clip_folder: Path, tmp_path: Path) -> None:
    with pytest.raises(LayoutError, match="clip"):
        make_student(clip_folder, tmp_path / "student")


@pytest.mark.parametrize("family", ["teacher", "xlm-roberta"])
def test_a_pruned_student_gives_the_same_vectors_for_the_words_it_kept(
    school: Path, tmp_path: Path, family: str, reference: Any
) -> None:
    tokenizer = load_tokenizer(school / family)
    texts = ["abcdef gh", "hgfedcba"]
    counts = {"en": count_tokens(tokenizer, texts)}
    size = tokenizer.get_vocab_size()
    kept = choose_tokens(tokenizer, counts, size - 4)
    pruned = prune_tokenizer(tokenizer, kept)
    assert pruned.get_vocab_size() == len(kept) < size
    assert [e.tokens for e in pruned.encode_batch(texts)] == [e.tokens for e in tokenizer.encode_batch(texts)]
    make_student(school / family, tmp_path / "pruned", counts=counts, vocabulary=size - 4)
    make_student(school / family, tmp_path / "whole")
    small, large = (Model.load(text=tmp_path / name).encode_text(texts) for name in ("pruned", "whole"))
    assert np.allclose(small, large, atol=1e-5)
    assert np.allclose(small, unit_rows(reference.text_vectors(tmp_path / "pruned", texts)), atol=1e-4)


def test_dense_is_fitted_exactly_where_the_targets_are_linear() -> None:
    rng = np.random.default_rng(0)
    x = rng.standard_normal((5000, 8)).astype(np.float32)
    weight, bias = rng.standard_normal((3, 8)).astype(np.float32), np.array([5, -1, 0], np.float32)
    found = fit_dense(x, x @ weight.T + bias)
    assert np.allclose(found[0], weight, atol=0.02)
    assert np.allclose(found[1], bias, atol=0.02)


class TestVectorStore:
    def encode(self, texts: Sequence[str]) -> FloatArray:
        self.asked = [*getattr(self, "asked", []), *texts]
        return np.array([[len(text), 1] for text in texts], dtype=np.float32)

    def test_vectors_are_computed_once(self, tmp_path: Path) -> None:
        store = VectorStore(tmp_path, 2)
        assert store.add(["a", "bb", "a"], self.encode) == 2
        again = VectorStore(tmp_path, 2)
        assert again.add(["bb", "ccc"], self.encode) == 1
        assert self.asked == ["a", "bb", "ccc"]
        assert again.take(["ccc", "a"]).tolist() == [[3, 1], [1, 1]]

    def test_what_was_being_written_when_a_process_died_is_cut_off(self, tmp_path: Path) -> None:
        VectorStore(tmp_path, 2).add(["a", "bb"], self.encode)
        with (tmp_path / "vectors").open("ab") as file:
            file.write(b"\x00" * 11)
        with (tmp_path / "keys").open("ab") as file:
            file.write(b"\x00" * 5)
        store = VectorStore(tmp_path, 2)
        assert store.add(["ccc"], self.encode) == 1
        assert store.take(["bb", "ccc"]).tolist() == [[2, 1], [3, 1]]

    def test_a_text_without_a_vector_is_named(self, tmp_path: Path) -> None:
        with pytest.raises(DataError, match="'lost'"):
            VectorStore(tmp_path, 2).take(["lost"])


def test_an_ensemble_averages_cosines() -> None:
    rng = np.random.default_rng(0)
    parts = [rng.standard_normal((400, d)).astype(np.float32) for d in (6, 5)]
    ensemble = Ensemble.fit(parts, [3, 1], 11)
    joined = ensemble.join(parts)
    centred = [unit_rows(unit_rows(part) - mean) for part, mean in zip(parts, ensemble.means, strict=True)]
    wanted = 0.75 * centred[0] @ centred[0].T + 0.25 * centred[1] @ centred[1].T
    assert np.allclose(joined @ joined.T, wanted, atol=1e-5)
    assert Ensemble.fit(parts, [3, 1], 4).rotation.shape == (11, 4)
    with pytest.raises(InputError, match="11 dimensions"):
        Ensemble.fit(parts, [3, 1], 12)


def test_vectors_of_another_program_are_read_from_parquet(pair: Model, tmp_path: Path) -> None:
    import pyarrow as pa
    import pyarrow.parquet as pq

    pq.write_table(pa.table({"text": ["a", "b"], "vector": [[1.0, 2.0], [3.0, 4.0]]}), tmp_path / "v.parquet")
    texts, vectors = read_vectors(tmp_path / "v.parquet")
    assert texts == ["a", "b"]
    assert vectors.tolist() == [[1, 2], [3, 4]]
    with pytest.raises(DataError, match="Parquet"):
        read_vectors(tmp_path / "none.parquet")


def test_a_student_learns_what_its_teacher_says(school: Path, tmp_path: Path, reference: Any) -> None:
    out = tmp_path / "student"
    shown = run(
        *("distill", out, "--teacher", school / "teacher", "--student", school / "bert", "--pairs", school / "pairs"),
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
    lines = (school / "pairs/de.tsv").read_text(encoding="utf-8").splitlines()[:50]
    sources, texts = zip(*(line.split("\t") for line in lines), strict=True)
    student, teacher = Model.load(text=out), Model.load(text=school / "teacher")
    untaught = Model.load(text=out / "start")
    wanted = teacher.encode_text(sources, unit=False)
    before, after = (np.square(m.encode_text(texts, unit=False) - wanted).mean() for m in (untaught, student))
    assert after < 0.7 * before
    for name in ("loss.png", "README.md"):
        assert (out / name).stat().st_size > 500
    assert np.allclose(student.encode_text(texts), unit_rows(reference.text_vectors(out, texts)), atol=1e-4)


def losses(out: Path) -> dict[int, float]:
    entries = [json.loads(line) for line in (out / "log.jsonl").read_text(encoding="utf-8").splitlines()]
    return {entry["step"]: entry["loss"] for entry in entries if "loss" in entry}


def command(school: Path, out: Path, *more: object) -> list[str]:
    fixed = ("--samples", 2560, "--batch", 32, "--held-out", 20, "--evaluate-every", 20, "--layers", 1)
    parts = ("distill", out, "--teacher", school / "teacher", "--student", school / "bert", "--pairs", school / "pairs")
    return [str(part) for part in (*parts, *fixed, *more)]


def test_a_training_that_is_killed_goes_on_to_the_same_losses(school: Path, tmp_path: Path, home: Path) -> None:
    run(*command(school, tmp_path / "whole"))
    killed = tmp_path / "killed"
    process = subprocess.Popen([sys.executable, "-m", "babelclip", *command(school, killed)], stderr=subprocess.DEVNULL)
    deadline = time.monotonic() + 120
    while last_checkpoint(killed / "checkpoints") is None and time.monotonic() < deadline:
        time.sleep(0.02)
    process.kill()
    process.wait()
    (killed / "checkpoints" / "checkpoint-9999").mkdir()
    run(*command(school, killed, "--resume"))
    assert losses(killed) == pytest.approx(losses(tmp_path / "whole"), rel=1e-3)
    texts = ["ijkl mnop", "qrst"]
    ours, theirs = (Model.load(text=out).encode_text(texts) for out in (killed, tmp_path / "whole"))
    assert np.allclose(ours, theirs, atol=1e-3)


def test_dropout_is_what_is_asked_for_and_none_by_default(school: Path, tmp_path: Path) -> None:
    first = {}
    for part in ("0", "0.5", None):
        run(*command(school, tmp_path / f"{part}", "--samples", 320, *(("--dropout", part) if part else ())))
        first[part] = losses(tmp_path / f"{part}")[1]
    assert first[None] == first["0"]
    # The Dense layer is fitted to what the student gives without dropout, so noise only makes it worse.
    assert first["0.5"] > 1.05 * first["0"]


def test_a_finished_training_is_not_overwritten(school: Path, tmp_path: Path) -> None:
    (tmp_path / "out").mkdir()
    (tmp_path / "out" / "something").touch()
    result = CliRunner().invoke(APP, command(school, tmp_path / "out"))
    assert isinstance(result.exception, InputError)
    assert "is there already" in str(result.exception)


def test_two_processes_train_one_student(school: Path, tmp_path: Path) -> None:
    arguments = ["--nproc-per-node", "2", "-m", "babelclip", *command(school, tmp_path / "out", "--samples", 640)]
    launched = [sys.executable, "-m", "torch.distributed.run", *arguments]
    done = subprocess.run(launched, capture_output=True, text=True, env={**os.environ, "OMP_NUM_THREADS": "1"})
    assert done.returncode == 0, done.stderr[-3000:]
    assert max(losses(tmp_path / "out")) == 10
    assert Model.load(text=tmp_path / "out").encode_text("ijkl").shape == (24,)


def test_a_language_is_added_and_the_others_stay(school: Path, tmp_path: Path) -> None:
    run(*command(school, tmp_path / "base", "--languages", "de", "--samples", 6000, "--learning-rate", "2e-3"))
    shutil.rmtree(tmp_path / "base" / "checkpoints")
    shutil.rmtree(tmp_path / "base" / "start")
    shown = run(
        *("distill", tmp_path / "more", "--student", tmp_path / "base", "--add-language", "xx", "--bound", "0.05"),
        *("--pairs", school / "pairs", "--samples", 6000, "--batch", 32, "--learning-rate", "1e-3", "--held-out", 30),
    )
    assert "xx (new)" in shown
    report = json.loads((tmp_path / "more" / "report.json").read_text(encoding="utf-8"))
    assert max(report["moved"].values()) <= 0.05
    old, new = Model.load(text=tmp_path / "base"), Model.load(text=tmp_path / "more")
    lines = (school / "pairs/xx.tsv").read_text(encoding="utf-8").splitlines()[:100]
    sources, texts = zip(*(line.split("\t") for line in lines), strict=True)
    wanted = old.encode_text(sources)
    before, after = ((m.encode_text(texts) * wanted).sum(axis=1).mean() for m in (old, new))
    assert after > before
    known = (school / "pairs/de.tsv").read_text(encoding="utf-8").split("\n")[0].split("\t")[1]
    assert (old.encode_text(known) * new.encode_text(known)).sum() > 0.9
