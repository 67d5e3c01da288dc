"""Tests of whole alignments: heads on frozen features, and the graphs that contain them."""

import json
import math
import shutil
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from babelclip.checkpoints.layouts import read_image_spec
from babelclip.checkpoints.weights import read_weights
from babelclip.errors import DataError, InputError
from babelclip.evaluation.captions import read_pictures
from babelclip.models.model import Model
from babelclip.training import alignment_run
from babelclip.training.features import read_features
from babelclip.training.student import make_student
from babelclip.training.teacher import teacher_vectors
from babelclip.zeroshot.templates import templates_of
from tests.helpers.captions import COLOURS, caption
from tests.helpers.command_line import run


def align(inputs: Path, image: Path, gallery: Path, out: Path, *more: object) -> Model:
    shown = run(
        *(
            "align",
            out,
            "--text",
            inputs / "teacher",
            "--image",
            image,
            "--held-out",
            gallery / "held_out.txt",
        ),
        *("--captions", f"{gallery / 'pictures'}:{gallery / 'captions.tsv'},weight=2"),
        *("--steps", 300, "--batch", 40, "--views", 2, "--learning-rate", "1e-2", "--text-rate", "3e-3", *more),
    )
    assert "pictures en" in shown
    return Model.load(text=out / "text", image=out / "image")


def top_1_accuracy(model: Model, gallery: Path, code: str) -> float:
    """Share of captions whose nearest held-out picture is their own."""
    pictures = model.encode_images([gallery / "pictures" / f"c{c}-5.png" for c in range(COLOURS)])
    texts = model.encode_text([caption(code, c) for c in range(COLOURS)])
    return float(((texts @ pictures.T).argmax(axis=1) == np.arange(COLOURS)).mean())


def test_a_vit_is_aligned_with_texts_in_every_language(
    inputs: Path, clip_folder: Path, gallery: Path, tmp_path: Path
) -> None:
    model = align(inputs, clip_folder, gallery, tmp_path / "out")
    assert min(top_1_accuracy(model, gallery, code) for code in ("en", "de")) >= 0.6
    record = json.loads((tmp_path / "out" / "align.json").read_text(encoding="utf-8"))
    assert record["held_out"] == COLOURS
    assert record["log"][-1]["pictures others"] == 1.0


def test_a_classifier_is_aligned_and_its_graph_contains_the_head(
    inputs: Path, classifier: Path, classes: Path, gallery: Path, tmp_path: Path
) -> None:
    out = tmp_path / "out"
    model = align(inputs, classifier, gallery, out, "--classes", classes, "--width", 10)
    assert min(top_1_accuracy(model, gallery, code) for code in ("en", "de")) >= 0.6
    spec, weights = read_image_spec(out / "image"), read_weights(out / "image")
    assert spec.efficientnet is not None
    assert spec.efficientnet.residual == 10
    features = read_features(spec, "x", "y", read_pictures(gallery / "pictures"))
    channels, logits = features.values[:, 0, :16], features.values[:, 0, 16:] / spec.efficientnet.temperature
    probabilities = np.exp(logits) / np.exp(logits).sum(axis=1, keepdims=True)
    inner = channels @ weights["residual.expand.weight"].T + weights["residual.expand.bias"]
    inner = np.array([[x * 0.5 * (1 + math.erf(x / math.sqrt(2))) for x in row] for row in inner])
    wanted = probabilities @ weights["class_vectors"] + inner @ weights["residual.contract.weight"].T
    wanted += weights["residual.contract.bias"]
    paths = [gallery / "pictures" / f"{name}.png" for name in features.names]
    assert np.allclose(model.encode_images(paths, unit=False), wanted, atol=2e-3)


def test_templates_put_every_class_name_in_a_prompt_of_its_language(
    inputs: Path,
    classifier: Path,
    classes: Path,
    gallery: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    read: list[str] = []

    def spy(teachers: Any, texts: list[str], **more: Any) -> Any:
        read.extend(texts)
        return teacher_vectors(teachers, texts, **more)

    monkeypatch.setattr(alignment_run, "teacher_vectors", spy)
    plain = align(inputs, classifier, gallery, tmp_path / "plain", "--classes", classes, "--steps", 5)
    without = set(read)
    read.clear()
    prompted = align(inputs, classifier, gallery, tmp_path / "out", "--classes", classes, "--steps", 5, "--templates")
    prompts = set(read) - without
    for code, count in (("en", COLOURS), ("de", COLOURS - 1)):
        names = {caption(code, c) for c in range(COLOURS)}
        allowed = {template.replace("{}", name) for template in templates_of(code) for name in names} - names
        assert len(prompts & allowed) == count
    picture = [gallery / "pictures" / "c3-0.png"]
    assert not np.allclose(plain.encode_images(picture), prompted.encode_images(picture), atol=1e-6)


def test_classes_that_are_not_all_named_are_refused(
    inputs: Path, classifier: Path, classes: Path, gallery: Path, tmp_path: Path
) -> None:
    classes.write_text("index\tlang\tname\n0\ten\tabc\n", encoding="utf-8")
    with pytest.raises(DataError, match="must name all 8 classes"):
        align(inputs, classifier, gallery, tmp_path / "out", "--classes", classes)
    classes.write_text("number\tname\n0\tabc\n", encoding="utf-8")
    with pytest.raises(DataError, match="index, lang and name"):
        align(inputs, classifier, gallery, tmp_path / "out", "--classes", classes)


def test_classes_of_babel_imagenet_keep_their_numbers(
    inputs: Path, classifier: Path, classes: Path, gallery: Path, tmp_path: Path
) -> None:
    numbers = list(range(COLOURS))[::-1]
    named = {"EN": [numbers, [caption("en", c) for c in numbers]], "DE": [[5], [caption("de", 5)]]}
    names = tmp_path / "classes.json"
    names.write_text(json.dumps({**named, "wnids": [f"n{c}" for c in range(COLOURS)]}), encoding="utf-8")
    kept = align(inputs, classifier, gallery, tmp_path / "json", "--classes", names, "--steps", 1)
    classes.write_text(
        "index\tlang\tname\n"
        + "".join(f"{c}\ten\t{caption('en', c)}\n" for c in range(COLOURS))
        + f"5\tde\t{caption('de', 5)}\n",
        encoding="utf-8",
    )
    wanted = align(inputs, classifier, gallery, tmp_path / "tsv", "--classes", classes, "--steps", 1)
    picture = gallery / "pictures" / "c3-0.png"
    assert np.allclose(kept.encode_images([picture]), wanted.encode_images([picture]), atol=1e-5)


def test_a_text_tower_without_a_dense_layer_is_refused(
    inputs: Path, clip_folder: Path, gallery: Path, tmp_path: Path
) -> None:
    make_student(inputs / "teacher", tmp_path / "bare")
    with pytest.raises(InputError, match="has no Dense layer"):
        align(tmp_path, clip_folder, gallery, tmp_path / "out", "--text", tmp_path / "bare")


def test_checkpoints_are_not_copied_into_the_aligned_model(
    inputs: Path, clip_folder: Path, gallery: Path, tmp_path: Path
) -> None:
    trained = tmp_path / "trained"
    shutil.copytree(inputs / "teacher", trained)
    shutil.copytree(inputs / "teacher", trained / "checkpoints" / "checkpoint-1")
    align(tmp_path, clip_folder, gallery, tmp_path / "out", "--text", trained, "--steps", 1)
    assert not (tmp_path / "out" / "text" / "checkpoints").exists()
    assert (tmp_path / "out" / "text" / "2_Dense" / "model.safetensors").is_file()


def test_an_alignment_never_overwrites(inputs: Path, clip_folder: Path, gallery: Path, tmp_path: Path) -> None:
    (tmp_path / "out").mkdir()
    (tmp_path / "out" / "x").touch()
    with pytest.raises(InputError, match="is there already"):
        align(inputs, clip_folder, gallery, tmp_path / "out")
