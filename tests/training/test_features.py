"""Tests of the cached features of an image encoder."""

from pathlib import Path

import numpy as np
from PIL import Image

from babelclip.checkpoints.layouts import read_image_spec
from babelclip.evaluation.captions import read_pictures
from babelclip.training.features import read_features, source_of
from tests.helpers.captions import COLOURS


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
