import io
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray
from PIL import Image

from babelclip.errors import ImageError, InputError, ModelError, ModelNotFoundError
from babelclip.media.images import ImageInput
from babelclip.models.model import Model
from babelclip.pipeline import ordered_map
from babelclip.runtimes import RuntimePrecision, Session, load_runtime
from babelclip.settings import settings
from babelclip.vectors import FloatArray
from tests.helpers.faults import FAULTS, Fault, dropped, fault_name, faulty, reordered, repeated


def test_a_mixed_list_keeps_its_order(pair: Model, photos: Path) -> None:
    picture = Image.new("RGB", (40, 30), "red")
    raw = (photos / "b.png").read_bytes()
    items: list[str | ImageInput] = ["a dog", photos / "a.jpg", "", picture, raw, np.asarray(picture), "собака"]
    vectors = pair.encode(items)
    assert vectors.shape == (7, 24)
    assert vectors.dtype == np.float32
    for row, item in zip(vectors, items, strict=True):
        np.testing.assert_allclose(row, pair.encode(item), atol=1e-5)
    np.testing.assert_allclose(vectors[3], vectors[5], atol=1e-5)


def test_texts_come_back_in_the_callers_order_whatever_their_length(pair: Model) -> None:
    texts = ["dog " * n for n in (90, 1, 50, 3, 120, 2, 0)] * 60
    vectors = pair.encode_text(texts)
    assert vectors.shape == (420, 24)
    np.testing.assert_allclose(vectors[:7], vectors[-7:], atol=1e-5)
    np.testing.assert_allclose(vectors[3], pair.encode_text("dog " * 3), atol=1e-5)


def test_rows_are_unit_unless_raw_is_asked_for(pair: Model) -> None:
    unit, raw = pair.encode(["a", "b c"]), pair.encode(["a", "b c"], unit=False)
    np.testing.assert_allclose(np.linalg.norm(unit, axis=1), 1, atol=1e-6)
    assert (np.abs(np.linalg.norm(raw, axis=1) - 1) > 1e-3).all()
    np.testing.assert_allclose(raw / np.linalg.norm(raw, axis=1, keepdims=True), unit, atol=1e-6)


def test_pictures_made_ready_have_the_vectors_of_their_files(pair: Model, photos: Path) -> None:
    sources = [photos / "a.jpg", photos / "b.png"] * 40
    pixels = [pair.pixels(source) for source in sources]
    np.testing.assert_allclose(pair.encode_pixels(pixels), pair.encode_images(sources), atol=1e-5)
    raw = pair.encode_pixels(pixels, unit=False)
    assert (np.abs(np.linalg.norm(raw, axis=1) - 1) > 1e-3).all()
    assert pair.encode_pixels([]).shape == (0, 24)


def test_one_item_gives_one_vector_and_none_give_none(pair: Model, photos: Path) -> None:
    assert pair.encode("a dog").shape == (24,)
    assert pair.encode(photos / "a.jpg").shape == (24,)
    assert pair.encode_images(str(photos / "a.jpg")).shape == (24,)
    assert pair.encode([]).shape == pair.encode_text([]).shape == pair.encode_images([]).shape == (0, 24)


def test_similarity_is_cosine(pair: Model) -> None:
    vectors = pair.encode(["a", "b c"], unit=False)
    assert pair.similarity(vectors, vectors * 5).diagonal().tolist() == pytest.approx([1, 1])


def test_one_bad_image_ends_encode_images_and_is_named(pair: Model, photos: Path) -> None:
    (photos / "bad.jpg").write_bytes(b"\xff\xd8\xff")
    with pytest.raises(ImageError, match=r"bad\.jpg"):
        pair.encode_images([photos / "a.jpg", photos / "bad.jpg"])


def test_a_stream_goes_on_after_bad_images_and_keeps_the_order(pair: Model, photos: Path) -> None:
    (photos / "bad.jpg").write_bytes(b"\xff\xd8\xff")
    sources = [photos / name for name in ("a.jpg", "bad.jpg", "b.png", "none.jpg")] * 20
    results = list(pair.stream_images((source, source) for source in sources))
    assert [source for source, _ in results] == sources
    kinds = [isinstance(vector, ImageError) for _, vector in results]
    assert kinds == [False, True, False, True] * 20
    np.testing.assert_allclose(results[0][1], results[4][1], atol=1e-5)  # type: ignore[arg-type]


@pytest.mark.parametrize("fault", FAULTS, ids=fault_name)
def test_vectors_carry_the_tags_of_their_images_when_decoding_is_faulty(
    pair: Model, photos: Path, monkeypatch: pytest.MonkeyPatch, fault: Fault
) -> None:
    paths = sorted(path for path in photos.rglob("*.*"))
    expected = {path: pair.encode_images(path) for path in paths}
    monkeypatch.setattr("babelclip.models.model.ordered_map", faulty(ordered_map, fault))
    results = list(pair.stream_images((path, path) for path in paths))
    assert len(results) == len(list(fault(range(5))))
    for path, vector in results:
        assert not isinstance(vector, ImageError)
        np.testing.assert_allclose(vector, expected[path], atol=1e-5)


@pytest.mark.parametrize("fault", FAULTS, ids=fault_name)
def test_encode_images_never_gives_a_vector_of_another_image(
    pair: Model, photos: Path, monkeypatch: pytest.MonkeyPatch, fault: Fault
) -> None:
    paths = sorted(path for path in photos.rglob("*.*"))
    expected = pair.encode_images(paths)
    monkeypatch.setattr("babelclip.models.model.ordered_map", faulty(ordered_map, fault))
    if fault is dropped:
        with pytest.raises(ModelError, match="2 of 5 images got no vector; the first is image 1"):
            pair.encode_images(paths)
        return
    counts: list[int] = []
    np.testing.assert_allclose(pair.encode_images(paths, progress=counts.append), expected, atol=1e-5)
    assert sum(counts) == 5


def test_a_stream_of_bad_images_alone_gives_their_errors(pair: Model) -> None:
    assert [isinstance(vector, ImageError) for _, vector in pair.stream_images([(1, b"x"), (2, b"y")])] == [True, True]


@pytest.mark.parametrize("item", [None, 5, {"image": "a.jpg"}])
def test_what_is_neither_text_nor_image_is_named(pair: Model, item: object) -> None:
    with pytest.raises(InputError, match=type(item).__name__):
        pair.encode(["a dog", item])  # type: ignore[list-item]


def test_progress_is_told_of_every_item(pair: Model, photos: Path) -> None:
    counts: list[int] = []
    pair.encode_text(["a"] * 700, progress=counts.append)
    assert sum(counts) == 700
    counts.clear()
    pair.encode_images([photos / "a.jpg"] * 20, progress=counts.append)
    assert sum(counts) == 20


class WatchedRuntime:
    """A runtime that notes the shape of the token ids of every run."""

    def __init__(self, name: str) -> None:
        self.name = name
        self.shapes: list[tuple[int, ...]] = []
        self._runtime = load_runtime(name)

    def compile(self, model: Any, *, precision: RuntimePrecision, threads: int) -> Session:
        session, shapes = self._runtime.compile(model, precision=precision, threads=threads), self.shapes

        class WatchedSession:
            def run(self, inputs: Mapping[str, NDArray[Any]]) -> FloatArray:
                shapes.append(inputs["ids"].shape)
                return session.run(inputs)

        return WatchedSession()


@pytest.fixture
def watched(text_folder: Path, monkeypatch: pytest.MonkeyPatch) -> tuple[Model, list[tuple[int, ...]]]:
    """A text tower, and the shapes (texts, tokens) that its runtime is given."""
    runtime = WatchedRuntime("openvino")
    monkeypatch.setattr("babelclip.models.towers.load_runtime", lambda name: runtime)
    return Model.load(text=text_folder), runtime.shapes


def test_a_text_that_occurs_again_is_encoded_once(watched: tuple[Model, list[tuple[int, ...]]]) -> None:
    model, shapes = watched
    texts = ["a dog", "eine Katze", "a dog", "", "a dog", ""] * 50
    vectors = model.encode_text(texts)
    assert sum(rows for rows, _ in shapes) == 3
    assert vectors.shape == (300, 24)
    np.testing.assert_array_equal(vectors[:6], vectors[-6:])
    np.testing.assert_allclose(vectors[1], model.encode_text("eine Katze"), atol=1e-5)


def test_texts_beyond_one_window_keep_their_order(pair: Model, monkeypatch: pytest.MonkeyPatch) -> None:
    texts = [f"word {i} " * (1 + i % 7) for i in range(40)]
    wanted = pair.encode_text(texts)
    monkeypatch.setattr("babelclip.models.model.TOKENIZED_AT_ONCE", 6)
    counts: list[int] = []
    np.testing.assert_allclose(pair.encode_text(texts, progress=counts.append), wanted, atol=1e-5)
    assert counts == [6] * 6 + [4]


@pytest.mark.parametrize("fault", [repeated, reordered], ids=fault_name)
def test_windows_of_texts_keep_their_vectors_when_they_are_repeated_or_reordered(
    pair: Model, monkeypatch: pytest.MonkeyPatch, fault: Fault
) -> None:
    texts = [f"word {i} " * (1 + i % 7) for i in range(40)]
    expected = pair.encode_text(texts)
    monkeypatch.setattr("babelclip.models.model.TOKENIZED_AT_ONCE", 6)
    monkeypatch.setattr("babelclip.models.model.ordered_map", faulty(ordered_map, fault))
    np.testing.assert_allclose(pair.encode_text(texts), expected, atol=1e-5)


def test_a_large_jpeg_in_the_middle_of_bad_files_keeps_its_place(pair: Model, tmp_path: Path) -> None:
    rng = np.random.default_rng(0)
    sources: list[Path] = []
    for i in range(40):
        path = tmp_path / f"{i}.jpg"
        Image.fromarray(rng.integers(0, 256, (3, 4, 3), dtype=np.uint8)).resize((640, 480)).save(path)
        if i % 5 == 2:
            path.write_bytes(path.read_bytes()[: 100 * i])
        sources.append(path)
    results = list(pair.stream_images((source, source) for source in sources))
    assert [source for source, _ in results] == sources
    for i, (source, vector) in enumerate(results):
        if i % 5 == 2:
            assert isinstance(vector, ImageError)
            assert str(source) in str(vector)
        else:
            assert not isinstance(vector, ImageError)
            np.testing.assert_allclose(vector, pair.encode_images(source), atol=1e-5)


def test_a_missing_tower_is_an_error_that_says_how_to_load_it(text_folder: Path, clip_folder: Path) -> None:
    with pytest.raises(ModelError, match="no image tower; load one with image="):
        Model.load(text=text_folder).encode(b"...")
    with pytest.raises(ModelError, match="no text tower; load one with text="):
        Model.load(image=clip_folder).encode("a")


def test_what_no_patch_covers_is_left_out_as_the_reference_does(tmp_path: Path, reference: Any) -> None:
    size = reference.Size(width=32, layers=1, heads=4, feed_forward=64, dimension=24, image=37, patch=16)
    reference.save_clip_model(tmp_path / "clip", ["a dog"], vision=size)
    picture = Image.fromarray(np.random.default_rng(0).integers(0, 256, (50, 40, 3), dtype=np.uint8))
    wanted = reference.image_vectors(tmp_path / "clip", [picture])
    given = Model.load(image=tmp_path / "clip").encode_images([picture], unit=False)
    assert np.allclose(given, wanted, atol=1e-5)


def test_towers_of_different_dimensions_are_no_pair(clip_folder: Path) -> None:
    with pytest.raises(ModelError, match="512 dimensions and the image tower 24"):
        Model.load(text="mini", image=clip_folder)


def test_wrong_ways_to_load_are_errors(text_folder: Path) -> None:
    with pytest.raises(InputError, match="not both"):
        Model.load("mini", text=text_folder)
    with pytest.raises(InputError, match="precision 'int3' is not known"):
        Model.load(precision="int3")  # type: ignore[arg-type]
    with pytest.raises(ModelNotFoundError, match="no model 'nothing'"):
        Model.load("nothing")
    with pytest.raises(ModelError, match="has no image tower"):
        Model.load(image=text_folder)


def test_texts_of_any_length_bring_the_engine_few_shapes(watched: tuple[Model, list[tuple[int, ...]]]) -> None:
    model, shapes = watched
    for words in range(200):
        model.encode_text("dog " * words)
    assert {length for _, length in shapes} == set(range(4, 129, 4))


def grainy_photo(seed: int) -> bytes:
    """A large JPEG: soft shapes with the grain of a sensor."""
    rng = np.random.default_rng(seed)
    shapes = Image.fromarray(rng.integers(0, 256, (9, 12, 3), dtype=np.uint8)).resize((2800, 2100), 3)
    grain = rng.normal(0, 9, (2100, 2800, 1))
    file = io.BytesIO()
    Image.fromarray((np.asarray(shapes) + grain).clip(0, 255).astype(np.uint8)).save(file, "JPEG", quality=90)
    return file.getvalue()


def test_reduced_decoding_keeps_vectors_within_the_bound_that_the_fingerprint_leaves_out(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    photos = [grainy_photo(seed) for seed in range(2)]
    model = Model.load("mini")
    reduced = model.encode_images(photos)
    monkeypatch.setenv("BABELCLIP_REDUCED_DECODING", "0")
    settings.cache_clear()
    full = model.encode_images(photos)
    cosines = (full * reduced).sum(axis=1)
    assert not np.array_equal(full, reduced)
    assert cosines.min() >= 0.999
    assert Model.load("mini").fingerprint == model.fingerprint
    between = (full @ reduced.T)[~np.eye(2, dtype=bool)]
    assert between.max() < cosines.min()
