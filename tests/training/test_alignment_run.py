"""Pictures tied to a text space: heads on frozen features, as the graph runs them afterwards."""

import json
import math
import shutil
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image
from safetensors.numpy import save_file
from typer.testing import CliRunner

from babelclip.checkpoints.layouts import read_image_spec
from babelclip.checkpoints.weights import read_weights
from babelclip.cli.app import APP
from babelclip.errors import DataError, InputError
from babelclip.evaluation.captions import read_pictures
from babelclip.models.model import Model
from babelclip.training import alignment_run
from babelclip.training.features import read_features, source_of
from babelclip.training.heads import ClassifierHead, Names, Settings, class_vectors
from babelclip.training.student import make_student
from babelclip.training.teacher import teacher_vectors
from babelclip.vectors import FloatArray
from babelclip.zeroshot.templates import templates_of
from tests.conftest import ALPHABETS

COLOURS = 8
BLOCKS = [[3, 1, 1, 8, 8], [3, 2, 2, 8, 12]]


def run(*arguments: object) -> str:
    result = CliRunner().invoke(APP, [str(argument) for argument in arguments], catch_exceptions=False)
    assert result.exit_code == 0, result.output
    return result.stdout


def caption(code: str, colour: int) -> str:
    letter = ALPHABETS[code][colour]
    return f"{letter * 3} {letter * 2}"


@pytest.fixture
def gallery(tmp_path: Path) -> Path:
    """Plain pictures of eight colours, six each, with captions in two languages."""
    folder = tmp_path / "gallery"
    (folder / "pictures").mkdir(parents=True)
    rng = np.random.default_rng(0)
    rows = ["image\tlang\tkind\tcaption"]
    for colour in range(COLOURS):
        base = np.array([colour & 1, colour >> 1 & 1, colour >> 2], np.float64) * 180 + 30
        for number in range(6):
            pixels = np.clip(base + rng.normal(0, 25, (40, 50, 3)), 0, 255).astype(np.uint8)
            Image.fromarray(pixels).save(folder / "pictures" / f"c{colour}-{number}.png")
            for code in ("en", "de"):
                rows.append(f"c{colour}-{number}\t{code}\thuman\t{caption(code, colour)}")
    (folder / "captions.tsv").write_text("\n".join(rows) + "\n", encoding="utf-8")
    (folder / "held_out.txt").write_text("".join(f"c{c}-5\n" for c in range(COLOURS)), encoding="utf-8")
    return folder


@pytest.fixture
def classifier(tmp_path: Path) -> Path:
    """A tiny EfficientNet-Lite with eight classes and random weights."""
    rng = np.random.default_rng(5)
    folder = tmp_path / "classifier"
    folder.mkdir()

    def weight(*shape: int) -> FloatArray:
        scaled: FloatArray = (2 * rng.standard_normal(shape) / math.sqrt(math.prod(shape[1:]))).astype(np.float32)
        return scaled

    shapes = {"stem": (8, 3, 3, 3), "head": (16, 12, 1, 1)}
    for number, (kernel, _, expand, inside, outside) in enumerate(BLOCKS):
        wide = inside * expand
        if expand > 1:
            shapes[f"blocks.{number}.expand"] = (wide, inside, 1, 1)
        shapes[f"blocks.{number}.depthwise"] = (wide, 1, kernel, kernel)
        shapes[f"blocks.{number}.project"] = (outside, wide, 1, 1)
    tensors = {f"{name}.weight": weight(*shape) for name, shape in shapes.items()}
    tensors |= {f"{name}.bias": weight(shape[0], 1)[:, 0] * 0.1 for name, shape in shapes.items()}
    tensors |= {"classifier.weight": weight(COLOURS, 16) * 3, "classifier.bias": np.zeros(COLOURS, np.float32)}
    tensors["class_vectors"] = weight(COLOURS, 24)
    save_file(tensors, folder / "model.safetensors")
    config = {
        "model_type": "efficientnet-lite",
        "image_size": 32,
        "stem_channels": 8,
        "head_channels": 16,
        "blocks": BLOCKS,
        "temperature": 1.5,
        "num_classes": COLOURS,
        "projection_dim": 24,
    }
    preprocessor = {"do_center_crop": False, "size": {"height": 32, "width": 32}}
    (folder / "config.json").write_text(json.dumps(config), encoding="utf-8")
    (folder / "preprocessor_config.json").write_text(json.dumps(preprocessor), encoding="utf-8")
    return folder


@pytest.fixture
def classes(tmp_path: Path) -> Path:
    """Names of the eight classes in two languages; German lacks the last."""
    rows = ["index\tlang\tname"]
    rows += [
        f"{c}\t{code}\t{caption(code, c)}" for code in ("en", "de") for c in range(COLOURS) if (code, c) != ("de", 7)
    ]
    (tmp_path / "classes.tsv").write_text("\n".join(rows) + "\n", encoding="utf-8")
    return tmp_path / "classes.tsv"


def test_a_painted_class_gains_in_the_classifiers_own_logits() -> None:
    import torch

    rng = np.random.default_rng(0)
    weight, bias = rng.standard_normal((6, 16)).astype(np.float32), rng.standard_normal(6).astype(np.float32)
    features = torch.from_numpy(np.abs(rng.standard_normal((500, 22))).astype(np.float32))
    head = ClassifierHead(np.eye(6, 5, dtype=np.float32), weight, bias, features.numpy(), Settings())
    painted = head.paint(features, rng)
    assert painted.shape == features.shape
    channels, logits = painted[:, :16].numpy(), painted[:, 16:].numpy()
    assert np.allclose(logits, channels @ weight.T + bias, atol=1e-4)
    assert channels.min() >= 0
    assert np.bincount(logits.argmax(axis=1), minlength=6).min() > 30
    assert head.probabilities(painted).max(dim=1).values.mean() > 0.8


def aligned(school: Path, image: Path, gallery: Path, out: Path, *more: object) -> Model:
    shown = run(
        *("align", out, "--text", school / "teacher", "--image", image, "--held-out", gallery / "held_out.txt"),
        *("--captions", f"{gallery / 'pictures'}:{gallery / 'captions.tsv'},weight=2"),
        *("--steps", 300, "--batch", 40, "--views", 2, "--learning-rate", "1e-2", "--text-rate", "3e-3", *more),
    )
    assert "pictures en" in shown
    return Model.load(text=out / "text", image=out / "image")


def found(model: Model, gallery: Path, code: str) -> float:
    """How often a held-out picture is the nearest to its caption."""
    pictures = model.encode_images([gallery / "pictures" / f"c{c}-5.png" for c in range(COLOURS)])
    texts = model.encode_text([caption(code, c) for c in range(COLOURS)])
    return float(((texts @ pictures.T).argmax(axis=1) == np.arange(COLOURS)).mean())


def test_a_vit_is_tied_to_texts_in_every_language(
    school: Path, clip_folder: Path, gallery: Path, tmp_path: Path
) -> None:
    model = aligned(school, clip_folder, gallery, tmp_path / "out")
    assert min(found(model, gallery, code) for code in ("en", "de")) >= 0.6
    record = json.loads((tmp_path / "out" / "align.json").read_text(encoding="utf-8"))
    assert record["held_out"] == COLOURS
    assert record["log"][-1]["pictures others"] == 1.0


def test_a_classifier_is_tied_and_its_graph_adds_what_was_learned(
    school: Path, classifier: Path, classes: Path, gallery: Path, tmp_path: Path
) -> None:
    out = tmp_path / "out"
    model = aligned(school, classifier, gallery, out, "--classes", classes, "--width", 10)
    assert min(found(model, gallery, code) for code in ("en", "de")) >= 0.6
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
    school: Path, classifier: Path, classes: Path, gallery: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    read: list[str] = []

    def spy(teachers: Any, texts: list[str], **more: Any) -> Any:
        read.extend(texts)
        return teacher_vectors(teachers, texts, **more)

    monkeypatch.setattr(alignment_run, "teacher_vectors", spy)
    plain = aligned(school, classifier, gallery, tmp_path / "plain", "--classes", classes, "--steps", 5)
    without = set(read)
    read.clear()
    prompted = aligned(school, classifier, gallery, tmp_path / "out", "--classes", classes, "--steps", 5, "--templates")
    prompts = set(read) - without
    for code, count in (("en", COLOURS), ("de", COLOURS - 1)):
        names = {caption(code, c) for c in range(COLOURS)}
        allowed = {template.replace("{}", name) for template in templates_of(code) for name in names} - names
        assert len(prompts & allowed) == count
    picture = [gallery / "pictures" / "c3-0.png"]
    assert not np.allclose(plain.encode_images(picture), prompted.encode_images(picture), atol=1e-6)


def test_classes_that_are_not_all_named_are_refused(
    school: Path, classifier: Path, classes: Path, gallery: Path, tmp_path: Path
) -> None:
    classes.write_text("index\tlang\tname\n0\ten\tabc\n", encoding="utf-8")
    with pytest.raises(DataError, match="must name all 8 classes"):
        aligned(school, classifier, gallery, tmp_path / "out", "--classes", classes)
    classes.write_text("number\tname\n0\tabc\n", encoding="utf-8")
    with pytest.raises(DataError, match="index, lang and name"):
        aligned(school, classifier, gallery, tmp_path / "out", "--classes", classes)


def test_classes_of_babel_imagenet_keep_their_numbers(
    school: Path, classifier: Path, classes: Path, gallery: Path, tmp_path: Path
) -> None:
    numbers = list(range(COLOURS))[::-1]
    named = {"EN": [numbers, [caption("en", c) for c in numbers]], "DE": [[5], [caption("de", 5)]]}
    names = tmp_path / "classes.json"
    names.write_text(json.dumps({**named, "wnids": [f"n{c}" for c in range(COLOURS)]}), encoding="utf-8")
    kept = aligned(school, classifier, gallery, tmp_path / "json", "--classes", names, "--steps", 1)
    classes.write_text(
        "index\tlang\tname\n"
        + "".join(f"{c}\ten\t{caption('en', c)}\n" for c in range(COLOURS))
        + f"5\tde\t{caption('de', 5)}\n",
        encoding="utf-8",
    )
    wanted = aligned(school, classifier, gallery, tmp_path / "tsv", "--classes", classes, "--steps", 1)
    picture = gallery / "pictures" / "c3-0.png"
    assert np.allclose(kept.encode_images([picture]), wanted.encode_images([picture]), atol=1e-5)


def test_a_text_side_without_a_dense_layer_cannot_be_tied(
    school: Path, clip_folder: Path, gallery: Path, tmp_path: Path
) -> None:
    make_student(school / "teacher", tmp_path / "bare")
    with pytest.raises(InputError, match="has no Dense layer"):
        aligned(tmp_path, clip_folder, gallery, tmp_path / "out", "--text", tmp_path / "bare")


def test_what_training_leaves_beside_a_model_is_not_carried_on(
    school: Path, clip_folder: Path, gallery: Path, tmp_path: Path
) -> None:
    trained = tmp_path / "trained"
    shutil.copytree(school / "teacher", trained)
    shutil.copytree(school / "teacher", trained / "checkpoints" / "checkpoint-1")
    aligned(tmp_path, clip_folder, gallery, tmp_path / "out", "--text", trained, "--steps", 1)
    assert not (tmp_path / "out" / "text" / "checkpoints").exists()
    assert (tmp_path / "out" / "text" / "2_Dense" / "model.safetensors").is_file()


def test_an_alignment_never_overwrites(school: Path, clip_folder: Path, gallery: Path, tmp_path: Path) -> None:
    (tmp_path / "out").mkdir()
    (tmp_path / "out" / "x").touch()
    with pytest.raises(InputError, match="is there already"):
        aligned(school, clip_folder, gallery, tmp_path / "out")


def test_features_are_computed_once_and_views_differ(classifier: Path, gallery: Path) -> None:
    spec = read_image_spec(classifier)
    source = source_of(gallery / "pictures")
    first = read_features(spec, "weights", source, read_pictures(gallery / "pictures"), views=3)
    again = read_features(spec, "weights", source, iter(()), views=3)
    assert again.names == first.names
    assert np.allclose(again.values, first.values, rtol=2e-3, atol=1e-3)  # kept as float16
    assert first.values.shape == (6 * COLOURS, 3, 16 + COLOURS)
    assert not np.allclose(first.values[:, 0], first.values[:, 2], atol=1e-3)
    Image.new("RGB", (9, 9)).save(gallery / "pictures" / "more.png")
    assert source_of(gallery / "pictures") != source


def test_a_class_vector_weighs_the_source_against_the_mean_of_the_others() -> None:
    texts = np.eye(4, dtype=np.float32)
    names: Names = {"en": {0: (0,), 1: (1,)}, "de": {0: (2, 3)}}
    vectors = class_vectors(texts, names, "en", others=2)
    difference = vectors[0] - vectors[1]
    assert np.allclose(difference, [1 / 3, -1, 1 / 3, 1 / 3], atol=1e-6)
    assert np.allclose(vectors.sum(axis=0), 0, atol=1e-6)
