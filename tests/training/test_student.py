"""Tests of the construction of a student."""

from pathlib import Path
from typing import Any

import numpy as np
import pytest

from babelclip.checkpoints.layouts import read_text_spec
from babelclip.errors import InputError, LayoutError
from babelclip.models.model import Model
from babelclip.training.student import fit_dense, make_student, parse_layers, write_dense


@pytest.mark.parametrize(
    ("option", "chosen"), [("", [0, 1, 2, 3]), ("2", [0, 1]), ("0,3", [0, 3]), ("3,", None), ("5", None), ("2,1", None)]
)
def test_layers_are_a_number_or_indexes(option: str, chosen: list[int] | None) -> None:
    if chosen is None:
        with pytest.raises(InputError, match=r"layers|neither"):
            parse_layers(option, 4)
    else:
        assert parse_layers(option, 4) == chosen


@pytest.mark.parametrize("family", ["teacher", "bert", "xlm-roberta"])
def test_a_student_of_all_layers_gives_the_pooled_vectors_of_its_base(
    inputs: Path, tmp_path: Path, family: str, reference: Any
) -> None:
    make_student(inputs / family, tmp_path / "student")
    texts = ["abc def", "ijkl", ""]
    spec = read_text_spec(inputs / family)
    model = Model.load(text=tmp_path / "student")
    weight = np.random.default_rng(0).standard_normal((7, spec.transformer.width)).astype(np.float32)
    pooled = model.encode_text(texts, unit=False)
    write_dense(tmp_path / "student", weight, np.ones(7, np.float32))
    headed = Model.load(text=tmp_path / "student").encode_text(texts, unit=False)
    assert np.allclose(headed, pooled @ weight.T + 1, atol=1e-4)
    assert np.allclose(headed, reference.text_vectors(tmp_path / "student", texts), atol=1e-4)


def test_a_student_keeps_the_chosen_layers(inputs: Path, tmp_path: Path) -> None:
    make_student(inputs / "bert", tmp_path / "student", layers="1")
    assert read_text_spec(tmp_path / "student").transformer.layers == 1
    with pytest.raises(InputError, match="exists already"):
        make_student(inputs / "bert", tmp_path / "student")


def test_clip_cannot_be_a_student(clip_folder: Path, tmp_path: Path) -> None:
    with pytest.raises(LayoutError, match="clip"):
        make_student(clip_folder, tmp_path / "student")


def test_dense_is_fitted_exactly_where_the_targets_are_linear() -> None:
    rng = np.random.default_rng(0)
    x = rng.standard_normal((5000, 8)).astype(np.float32)
    weight, bias = rng.standard_normal((3, 8)).astype(np.float32), np.array([5, -1, 0], np.float32)
    fitted_weight, fitted_bias = fit_dense(x, x @ weight.T + bias)
    assert np.allclose(fitted_weight, weight, atol=0.02)
    assert np.allclose(fitted_bias, bias, atol=0.02)
