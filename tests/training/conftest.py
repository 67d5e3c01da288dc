"""Fixtures of training: tiny models, parallel text, captioned pictures."""

import json
import math
import random
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image
from safetensors.numpy import save_file

from babelclip.vectors import FloatArray
from tests.conftest import ALPHABETS, WORDS
from tests.helpers.captions import COLOURS, caption

BLOCKS = [[3, 1, 1, 8, 8], [3, 2, 2, 8, 12]]


@pytest.fixture(scope="session")
def inputs(tmp_path_factory: pytest.TempPathFactory, reference: Any) -> Path:
    """A teacher, students of two families, and parallel text between the artificial languages."""
    folder = tmp_path_factory.mktemp("inputs")
    rng = random.Random(0)
    words = {code: ["".join(rng.choices(a, k=6)) for _ in range(WORDS)] for code, a in ALPHABETS.items()}
    (folder / "pairs").mkdir()
    for code in ("de", "xx"):
        rows = []
        for _ in range(600):
            chosen = [rng.randrange(WORDS) for _ in range(rng.randint(1, 4))]
            rows.append(" ".join(words["en"][i] for i in chosen) + "\t" + " ".join(words[code][i] for i in chosen))
        (folder / "pairs" / f"{code}.tsv").write_text("\n".join(rows) + "\n", encoding="utf-8")
    texts = [" ".join(own) for own in words.values()]
    reference.save_text_model(folder / "teacher", texts, seed=1)
    reference.save_text_model(folder / "bert", texts, seed=2, family="bert")
    reference.save_text_model(folder / "xlm-roberta", texts, seed=3, family="xlm-roberta")
    return folder


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
    """Names of the eight classes in two languages; the last has none in German."""
    rows = ["index\tlang\tname"]
    rows += [
        f"{c}\t{code}\t{caption(code, c)}" for code in ("en", "de") for c in range(COLOURS) if (code, c) != ("de", 7)
    ]
    (tmp_path / "classes.tsv").write_text("\n".join(rows) + "\n", encoding="utf-8")
    return tmp_path / "classes.tsv"
