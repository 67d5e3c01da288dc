from pathlib import Path

import pytest

from babelclip.errors import ImageError, InputError, ModelMismatchError
from babelclip.models.model import Model
from babelclip.search.index import Index


def test_every_photo_is_found_by_itself(index: Index, photos: Path, pair: Model) -> None:
    report = index.add_folder(photos)
    assert (report.added, report.failed, len(index)) == (5, [], 5)
    for path in photos.rglob("*.*"):
        hits = index.search(path, k=3)
        assert hits[0].path == str(path)
        assert hits[0].score == pytest.approx(1, abs=1e-3)
        assert [hit.rank for hit in hits] == [1, 2, 3]
        assert hits[0].score >= hits[1].score >= hits[2].score


def test_scores_are_the_cosines_of_the_models_vectors(index: Index, photos: Path, pair: Model) -> None:
    index.add_folder(photos)
    query = pair.encode("a dog")
    for hit in index.search("a dog"):
        assert hit.score == pytest.approx(float(query @ pair.encode(Path(hit.path))), abs=2e-3)


def test_similar_leaves_the_photo_itself_out(index: Index, photos: Path) -> None:
    index.add_folder(photos)
    hits = index.similar(photos / "a.jpg", k=4)
    assert len(hits) == 4
    assert str(photos / "a.jpg") not in {hit.path for hit in hits}


def test_an_empty_index_answers_with_nothing(index: Index) -> None:
    assert index.search("a dog") == []


@pytest.mark.parametrize("query", ["", "  \n"])
def test_a_blank_query_is_an_error(index: Index, query: str) -> None:
    with pytest.raises(InputError, match="the query is empty"):
        index.search(query)


def test_wrong_queries_are_errors(index: Index, photos: Path) -> None:
    index.add_folder(photos)
    with pytest.raises(InputError, match="k must be at least 1, not 0"):
        index.search("a", k=0)
    with pytest.raises(ImageError, match=r"none\.jpg"):
        index.similar(photos / "none.jpg")
    assert len(index.search("a", k=1000)) == 5


def test_another_models_index_is_refused(tmp_path: Path, pair: Model, clip_folder: Path) -> None:
    Index.open(tmp_path / "p.bc", pair).close()
    with pytest.raises(ModelMismatchError):
        Index.open(tmp_path / "p.bc", Model.load(clip_folder))


def test_what_another_process_adds_is_found(tmp_path: Path, pair: Model, photos: Path) -> None:
    with Index.open(tmp_path / "p.bc", pair) as one, Index.open(tmp_path / "p.bc", pair) as two:
        assert one.search("a dog") == []
        two.add_folder(photos)
        assert len(one.search("a dog")) == 5


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"page": 0}, "at least 1"),
        ({"page": 2000}, "beyond hit 10000"),
        ({"page": 201, "grouped": True}, "beyond hit 2000"),
        ({"diversity": 2}, "0 to 1"),
    ],
)
def test_options_out_of_range_are_errors(index: Index, options: dict[str, int], message: str) -> None:
    with pytest.raises(InputError, match=message):
        index.search("a dog", **options)  # type: ignore[arg-type]
