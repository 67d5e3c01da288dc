import shutil
from collections.abc import Iterator, Sequence
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from babelclip.errors import InputError, ModelMismatchError
from babelclip.models.model import Model
from babelclip.scale.bulk import Pool, embed_all
from babelclip.scale.loading import load_all
from babelclip.scale.sources import ImageSource
from babelclip.search.index import Index
from babelclip.search.tuning_queries import tuning_vectors
from babelclip.stores import ModelIdentity, graph_maintenance
from babelclip.vectors import FloatArray

HERE = Pool(workers=0)


@pytest.fixture(scope="module")
def clip(clip_folder: Path) -> Model:
    return Model.load(clip_folder)


@pytest.fixture
def vectors(photos: Path, clip: Model, clip_folder: Path, tmp_path: Path) -> str:
    """The vectors of five photos in three files."""
    source = ImageSource(str(photos), "photos")
    embed_all(source, str(tmp_path / "vectors"), clip, pool=HERE, name=str(clip_folder), shard_files=2)
    return str(tmp_path / "vectors")


@pytest.fixture(params=["catalog", "milvus"])
def name(request: pytest.FixtureRequest, tmp_path: Path) -> str:
    return str(tmp_path / "s.bc") if request.param == "catalog" else f"milvus://{tmp_path}/s.db"


@pytest.fixture
def index(vectors: str, name: str, clip: Model) -> Iterator[Index]:
    load_all(vectors, name)
    with Index.open(name, clip, create=False) as opened:
        yield opened


def test_an_index_answers_alike_from_every_store(index: Index, photos: Path, clip: Model, tmp_path: Path) -> None:
    with Index.open(tmp_path / "usual.bc", clip) as usual:
        usual.add_folder(photos)
        assert len(index) == len(usual) == 5
        for photo in photos.rglob("*.*"):
            for where in (None, "folder:inner", "NOT name:b.png AND width>80"):
                found, expected = index.search(photo, 3, where=where), usual.search(photo, 3, where=where)
                assert [(hit.rank, hit.path) for hit in found] == [(hit.rank, hit.path) for hit in expected]
                assert [hit.score for hit in found] == pytest.approx([hit.score for hit in expected], abs=2e-3)
        photo = photos / "a.jpg"
        assert [hit.path for hit in index.search(photo, 2, page=2)] == [
            hit.path for hit in usual.search(photo, 2, page=2)
        ]
        assert [hit.path for hit in index.similar(photo, 4)] == [hit.path for hit in usual.similar(photo, 4)]
        assert len(index.search(photo, 5, grouped=True, diversity=0.5)) == 5


def test_loading_again_changes_nothing(vectors: str, name: str, clip: Model) -> None:
    assert [load_all(vectors, name).rows for _ in range(2)] == [5, 5]
    with Index.open(name, clip) as index:
        assert len(index) == 5


def test_photos_that_were_loaded_are_not_read_again(vectors: str, photos: Path, clip: Model, tmp_path: Path) -> None:
    load_all(vectors, str(tmp_path / "s.bc"))
    with Index.open(tmp_path / "s.bc", clip) as index:
        report = index.add_folder(photos)
    assert (report.unchanged, report.added) == (5, 0)


def test_a_folder_without_vectors_or_of_another_model_is_refused(vectors: str, name: str, tmp_path: Path) -> None:
    with pytest.raises(InputError, match="holds no vectors"):
        load_all(str(tmp_path), name)
    Index.open(name, Model.load()).close()
    with pytest.raises(ModelMismatchError, match="was made by model mini"):
        load_all(vectors, name)


def test_what_only_an_index_file_can_do_is_said(vectors: str, photos: Path, clip: Model, tmp_path: Path) -> None:
    with Index.open(f"milvus://{tmp_path}/s.db", clip) as index, pytest.raises(InputError, match="needs an index file"):
        index.add_folder(photos)


@pytest.fixture
def folder_of_many(clip: Model, clip_folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> str:
    """The vectors of so many photos that an index file of them gets a graph."""
    monkeypatch.setattr(graph_maintenance, "EXACT_UP_TO", 20)
    rng = np.random.default_rng(0)
    (tmp_path / "many").mkdir()
    for i in range(60):
        Image.fromarray(rng.integers(0, 256, (6, 8, 3), dtype=np.uint8)).save(tmp_path / f"many/{i}.png")
    source = ImageSource(str(tmp_path / "many"), "photos")
    embed_all(source, str(tmp_path / "vectors-many"), clip, pool=HERE, name=str(clip_folder))
    return str(tmp_path / "vectors-many")


def test_loading_builds_the_graph_and_no_query_after_it_does(
    folder_of_many: str, clip: Model, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    steps: list[tuple[int, int]] = []

    def queries(model: ModelIdentity) -> Sequence[FloatArray]:
        assert model == ModelIdentity.of(clip)
        return tuning_vectors(clip)

    load_all(folder_of_many, str(tmp_path / "s.bc"), queries=queries, progress=lambda *step: steps.append(step))
    assert steps == [(60, 60)]
    (manifest,) = tmp_path.glob("s.bc.neighbours/current.json")
    written = manifest.stat().st_mtime_ns
    monkeypatch.setattr(graph_maintenance.GraphMaintenance, "run", lambda *_: pytest.fail("a search maintains"))
    with Index.open(tmp_path / "s.bc", clip, create=False) as index:
        assert len(index.search("a dog", 50)) == 50
    assert manifest.stat().st_mtime_ns == written


def test_without_its_graph_the_first_query_after_loading_builds_none(
    folder_of_many: str, clip: Model, tmp_path: Path
) -> None:
    load_all(folder_of_many, str(tmp_path / "s.bc"))
    shutil.rmtree(tmp_path / "s.bc.neighbours")
    with Index.open(tmp_path / "s.bc", clip, create=False) as index:
        assert len(index.search("a dog", 60)) == 60
        assert not (tmp_path / "s.bc.neighbours").exists()
        assert index.maintain()
        assert (tmp_path / "s.bc.neighbours/current.json").exists()
