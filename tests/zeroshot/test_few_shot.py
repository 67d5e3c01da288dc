"""Examples that teach labels."""

from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from babelclip.errors import InputError
from babelclip.models.model import Model
from babelclip.zeroshot import Classifier, Label
from babelclip.zeroshot.few_shot import read_examples, refine


def ignore(error: OSError) -> None:
    """Folders that cannot be read do not matter here."""


def colours(folder: Path) -> Path:
    rng = np.random.default_rng(0)
    for name, colour in {"rot": (200, 30, 30), "blau": (30, 30, 200)}.items():
        (folder / name).mkdir(parents=True)
        for number in range(6):
            noise = rng.integers(-25, 25, (64, 64, 3))
            pixels = np.clip(np.array(colour) + noise, 0, 255).astype(np.uint8)
            Image.fromarray(pixels).save(folder / name / f"{number}.png")
    return folder


def test_examples_teach_what_the_texts_do_not_know(pair: Model, tmp_path: Path) -> None:
    one = Classifier(pair, ["rot", "blau"], templates=["{}"])
    before = one.matrix.copy()
    gain = refine(one, read_examples(colours(tmp_path / "examples"), ignore))
    assert (gain.examples, gain.classes) == (12, 2)
    # The random towers know nothing of colours' names.
    assert gain.text_accuracy <= 0.5
    assert gain.accuracy == 1.0
    assert gain.weight > 0
    assert not np.allclose(before, one.matrix)
    colours(tmp_path / "others")
    found = one.classify([tmp_path / "others" / name / "5.png" for name in ("rot", "blau")])
    assert [prediction.label for prediction in found] == ["rot", "blau"]


def test_what_has_no_examples_is_mixed_with_the_mean_of_all_prototypes(pair: Model, tmp_path: Path) -> None:
    one = Classifier(pair, ["rot", "blau", "third"], templates=["{}"], abstain=0.5)
    assert one.background is not None
    examples = read_examples(colours(tmp_path), ignore)
    gain = refine(one, examples)
    means = [pair.encode_images(own).mean(axis=0) for own in examples.values()]
    expected = (1 - gain.weight) * one.text_matrix[2] + gain.weight * np.mean(means, axis=0)
    assert np.allclose(one.matrix[2], expected, atol=1e-5)
    refined = one.background.vectors
    again = refine(one, examples)
    assert again == gain
    assert np.array_equal(one.background.vectors, refined)


def test_labels_of_one_name_take_examples_by_their_key(pair: Model, photos: Path) -> None:
    cranes: list[str | Label] = [
        Label("crane", ("crane",), key="n1"),
        Label("crane", ("crane", "bird"), key="n2"),
        "other",
    ]
    one = Classifier(pair, cranes, templates=["{}"])
    with pytest.raises(InputError, match="name of 2 labels"):
        refine(one, {"crane": [photos / "a.jpg"]})
    assert refine(one, {"n2": [photos / "a.jpg"], "OTHER": [photos / "b.png"]}).classes == 2


def test_a_single_example_a_label_counts_half_and_nothing_judges_it(pair: Model, photos: Path) -> None:
    one = Classifier(pair, ["x", "y"], templates=["{}"])
    pictures = [photos / "a.jpg", photos / "b.png"]
    gain = refine(one, {"x": pictures[:1], "y": pictures[1:]})
    assert (gain.examples, gain.judged, gain.weight) == (2, 0, 0.5)
    assert gain.accuracy is gain.calibration_error is None
    assert np.allclose(one.matrix, (one.text_matrix + pair.encode_images(pictures)) / 2, atol=1e-5)
    assert [prediction.label for prediction in one.classify(pictures)] == ["x", "y"]


def test_only_labels_with_several_examples_choose_the_weight(pair: Model, tmp_path: Path) -> None:
    examples = read_examples(colours(tmp_path), ignore)
    gain = refine(Classifier(pair, ["rot", "blau"], templates=["{}"]), {**examples, "rot": examples["rot"][:1]})
    assert (gain.examples, gain.judged) == (7, 6)


def test_wrong_examples_are_an_error(pair: Model, photos: Path, tmp_path: Path) -> None:
    one = Classifier(pair, ["dog", "cat"])
    with pytest.raises(InputError, match="'bird' has examples but is not a label"):
        refine(one, {"bird": [photos / "a.jpg"]})
    with pytest.raises(InputError, match="no example pictures"):
        refine(one, {"dog": []})
    with pytest.raises(InputError, match="no such folder"):
        read_examples(tmp_path / "missing", ignore)
    (tmp_path / "empty").mkdir()
    with pytest.raises(InputError, match="holds no folder with photos"):
        read_examples(tmp_path / "empty", ignore)
