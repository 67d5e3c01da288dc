"""The tiny models of the fixtures are what the reference libraries would save and read."""

import json
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image

from babelclip.benchmark.samples import ALL
from babelclip.models.model import Model
from babelclip.vectors import unit_rows


def test_their_tokenizers_are_those_that_transformers_saves(
    text_folder: Path, clip_folder: Path, reference_text_folder: Path, reference_clip_folder: Path
) -> None:
    for ours, theirs in ((text_folder, reference_text_folder), (clip_folder, reference_clip_folder)):
        contents = [json.loads((folder / "tokenizer.json").read_text()) for folder in (ours, theirs)]
        assert contents[0] == contents[1]


def test_their_vectors_are_those_of_the_reference_libraries(
    text_folder: Path, clip_folder: Path, reference: Any
) -> None:
    texts = unit_rows(reference.text_vectors(text_folder, ALL))
    assert np.abs(Model.load(text=text_folder).encode_text(ALL) - texts).max() < 1e-5
    clip = Model.load(clip_folder)
    assert np.abs(clip.encode_text(ALL) - unit_rows(reference.clip_text_vectors(clip_folder, ALL))).max() < 1e-5
    images = [Image.linear_gradient("L").convert("RGB").resize((40, 32)), Image.new("RGB", (32, 50), "red")]
    vectors = unit_rows(reference.image_vectors(clip_folder, images))
    assert np.abs(clip.encode(images) - vectors).max() < 1e-4


def test_they_tell_inputs_apart(pair: Model) -> None:
    images = [Image.new("RGB", (32, 32), colour) for colour in ("red", "green", "blue", "white")]
    for rows in (pair.encode_text(["dog", "cat", "house", "海"]), pair.encode(images)):
        cosines = rows @ rows.T
        assert cosines[~np.eye(4, dtype=bool)].max() < 0.99
