"""Speed as ratios, each of two things measured in turn: what fails here has lost what makes it fast.

    pytest benchmarks

Not part of the tests: it takes a minute, wants a quiet machine, and says nothing of how fast one is; for that there is
``python -m benchmarks.speed``. The limits lie at about half of what was measured, so that only a real loss fails.
"""

import time
from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path
from statistics import median
from typing import Any

import numpy as np
import pytest
from PIL import Image
from pytest_benchmark.fixture import BenchmarkFixture

from babelclip.benchmark.machine import this_machine
from babelclip.benchmark.samples import SCRIPTS
from babelclip.models.model import Model
from babelclip.models.quantize import quantize
from babelclip.models.registry import ModelFolders
from babelclip.search.index import Index
from tests.helpers import reference_models

ROUNDS = 9
TEXTS = [f"{text} {number}" for number in range(2) for text in SCRIPTS.values()][:64]
TEXT = replace(reference_models.DISTILBERT, layers=2)
VISION = replace(reference_models.CLIP_VISION, layers=2)
"""Layers of the published width, fewer of them."""
INT8_SETS = ("avx512_vnni", "avx_vnni", "amx_int8", "asimddp", "i8mm")


@pytest.fixture(scope="session")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A pair calibrated for int8, beside the towers it is made of and its samples."""
    root = tmp_path_factory.mktemp("ratios")
    reference_models.save_text_model(root / "text", TEXTS, size=TEXT)
    reference_models.save_clip_model(root / "image", TEXTS, vision=VISION)
    (root / "samples").mkdir()
    for number, picture in enumerate(pictures(16)):
        picture.save(root / "samples" / f"{number:02}.png")
    pair = ModelFolders("pair", root / "text", root / "image", {})
    quantize(pair, root / "pair", TEXTS, sorted((root / "samples").iterdir()), least_cosine=-1.0)
    return root


@pytest.fixture(scope="session")
def exact(folder: Path) -> Model:
    return Model.load(folder / "pair", precision="float32")


@pytest.fixture(scope="session")
def compact(folder: Path) -> Model:
    return Model.load(folder / "pair", precision="int8")


def pictures(count: int) -> list[Image.Image]:
    rng = np.random.default_rng(0)
    return [Image.fromarray(rng.integers(0, 256, (224, 224, 3), dtype=np.uint8)) for _ in range(count)]


def times_as_fast(benchmark: BenchmarkFixture, subject: Callable[[], object], other: Callable[[], object]) -> float:
    """How many times as fast as another a subject is, in rounds that take turns."""
    seconds: list[float] = []

    def before() -> None:
        start = time.perf_counter()
        other()
        seconds.append(time.perf_counter() - start)

    before()
    subject()
    seconds.clear()
    measured: Any = benchmark
    measured.pedantic(subject, setup=before, rounds=ROUNDS)
    ratio = float(median(seconds) / measured.stats.stats.median)
    measured.extra_info["times as fast"] = round(ratio, 2)
    return ratio


needs_int8 = pytest.mark.skipif(
    not set(INT8_SETS) & set(this_machine().flags), reason="the processor has no products of int8"
)


@needs_int8
def test_int8_images_are_faster_than_float32(benchmark: BenchmarkFixture, exact: Model, compact: Model) -> None:
    batch = pictures(32)
    assert times_as_fast(benchmark, lambda: compact.encode_images(batch), lambda: exact.encode_images(batch)) > 1.4


@needs_int8
def test_int8_texts_are_faster_than_float32(benchmark: BenchmarkFixture, exact: Model, compact: Model) -> None:
    assert times_as_fast(benchmark, lambda: compact.encode_text(TEXTS), lambda: exact.encode_text(TEXTS)) > 1.4


def test_a_batch_of_texts_is_faster_than_one_by_one(benchmark: BenchmarkFixture, exact: Model) -> None:
    def one_by_one() -> Sequence[object]:
        return [exact.encode_text(text) for text in TEXTS]

    assert times_as_fast(benchmark, lambda: exact.encode_text(TEXTS), one_by_one) > 1.2


def test_texts_of_mixed_lengths_cost_less_than_all_at_the_longest(benchmark: BenchmarkFixture, exact: Model) -> None:
    mixed = ["x " * 4] * 60 + ["x " * 120] * 4
    assert times_as_fast(benchmark, lambda: exact.encode_text(mixed), lambda: exact.encode_text(mixed[-1:] * 64)) > 3


def test_a_folder_that_is_indexed_is_passed_over(
    benchmark: BenchmarkFixture, exact: Model, folder: Path, tmp_path: Path
) -> None:
    numbers = iter(range(2 * ROUNDS))

    def anew() -> None:
        with Index.open(tmp_path / f"{next(numbers)}.bc", exact) as index:
            index.add_folder(folder / "samples")

    with Index.open(tmp_path / "kept.bc", exact) as kept:
        assert times_as_fast(benchmark, lambda: kept.add_folder(folder / "samples"), anew) > 5
