"""Fixtures: a home of its own for every test, and tiny models saved by the reference libraries."""

import random
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from babelclip.benchmark import reference
from babelclip.benchmark.samples import ALL
from babelclip.model import Model
from babelclip.settings import settings

ALPHABETS = {"en": "abcdefgh", "de": "ijklmnop", "xx": "qrstuvwx"}
"""The letters of three made languages, word for word translations of each other."""
WORDS = 40

SHARED = Path(__file__).parents[2] / "shared" / "data"


@pytest.fixture(autouse=True)
def home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """A data folder of its own, so that no test sees what another or the user left."""
    folder = tmp_path / "home"
    monkeypatch.setenv("BABELCLIP_HOME", str(folder))
    settings.cache_clear()
    yield folder
    settings.cache_clear()


@pytest.fixture(scope="session")
def shared() -> Path:
    """The evaluation data, where it is there."""
    if not SHARED.is_dir():
        pytest.skip("the evaluation data (../shared/data) is not here")
    return SHARED


@pytest.fixture(scope="session")
def clip_folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A tiny CLIP pair as transformers saves it."""
    folder = tmp_path_factory.mktemp("clip") / "clip"
    reference.save_clip_model(folder, ALL)
    return folder


@pytest.fixture(scope="session")
def text_folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A tiny DistilBERT text tower as sentence-transformers saves it today."""
    folder = tmp_path_factory.mktemp("text") / "text"
    reference.save_text_model(folder, ALL)
    return folder


@pytest.fixture(scope="session")
def pair(clip_folder: Path, text_folder: Path) -> Model:
    """Both towers, of the same dimension."""
    return Model.load(text=text_folder, image=clip_folder)


@pytest.fixture
def photos(tmp_path: Path) -> Path:
    """A folder of five different photos in two folders."""
    rng = np.random.default_rng(1)
    folder = tmp_path / "photos"
    (folder / "inner").mkdir(parents=True)
    for i, name in enumerate(("a.jpg", "b.png", "c.webp", "inner/d.jpeg", "inner/e.gif")):
        coarse = rng.integers(0, 256, (4, 5, 3), dtype=np.uint8)
        Image.fromarray(coarse).resize((90 + i, 70)).save(folder / name)
    return folder


@pytest.fixture(scope="session")
def school(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A teacher, students of two families, and parallel text between the made languages."""
    folder = tmp_path_factory.mktemp("school")
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
