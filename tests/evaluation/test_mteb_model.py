"""mteb runs its own tasks on our models, over local data."""

from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from babelclip.models.model import Model

pytestmark = pytest.mark.filterwarnings("ignore")
mteb = pytest.importorskip("mteb")


def test_a_small_task_of_mteb_gives_what_the_cosines_say(pair: Model, tmp_path: Path) -> None:
    import datasets
    from scipy.stats import spearmanr

    from babelclip.evaluation.mteb_model import MtebModel

    left = ["a dog", "two dogs", "a cat", "the house", "море", "一只狗"]
    right = ["dog", "a cat", "the house by the sea", "a house", "собака", "一隻狗"]
    scores = [5.0, 3.0, 1.0, 4.0, 2.0, 4.5]
    task = mteb.get_task("STSBenchmark")
    rows = datasets.Dataset.from_dict({"sentence1": left, "sentence2": right, "score": scores})
    task.dataset = datasets.DatasetDict({"test": rows})
    task.data_loaded = True
    found = task.evaluate(MtebModel(pair), "test", encode_kwargs={"batch_size": 4})["default"]
    cosines = (pair.encode_text(left) * pair.encode_text(right)).sum(axis=1)
    assert found["cosine_spearman"] == pytest.approx(spearmanr(cosines, scores).statistic, abs=1e-6)


def test_texts_pictures_and_both_are_encoded(pair: Model) -> None:
    from babelclip.evaluation.mteb_model import MtebModel

    adapter = MtebModel(pair)
    pictures = [Image.new("RGB", (30, 20), colour) for colour in ("red", "blue")]
    texts = ["red", "blue"]

    def encode(batch: dict[str, Any]) -> np.ndarray:
        return adapter.encode([batch], task_metadata=None, hf_split="test", hf_subset="default")

    alone = encode({"text": texts}), encode({"image": pictures})
    assert np.allclose(alone[0], pair.encode_text(texts))
    assert np.allclose(alone[1], pair.encode_images(pictures))
    both = encode({"text": texts, "image": pictures})
    assert np.allclose(np.linalg.norm(both, axis=1), 1, atol=1e-6)
    assert np.allclose(both, (alone[0] + alone[1]) / np.linalg.norm(alone[0] + alone[1], axis=1, keepdims=True))
    assert adapter.mteb_model_meta is not None
    assert adapter.mteb_model_meta.embed_dim == pair.dimension
