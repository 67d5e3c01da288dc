import unicodedata
from collections.abc import Callable, Iterator
from contextlib import closing
from pathlib import Path

import numpy as np
import pytest

from babelclip.catalog.catalog import Catalog
from babelclip.catalog.records import ContentRecord, Photo
from babelclip.errors import CatalogError, InputError, ModelMismatchError
from babelclip.media.metadata import Metadata
from babelclip.stores import ModelIdentity, Store, StoreRecord, open_store
from babelclip.stores.milvus import read_address
from babelclip.stores.sqlite import SqliteStore
from babelclip.vectors import FloatArray, unit_rows

DIMENSION = 16
MODEL = ModelIdentity("tiny", "f" * 64, DIMENSION)
VECTORS: FloatArray = unit_rows(np.random.default_rng(0).normal(size=(60, DIMENSION)).astype(np.float32))

Opener = Callable[[], Store]


def found(store: Store, query: FloatArray, count: int, where: str | None = None) -> list[str]:
    """The paths that a store finds, with what was written just now."""
    store.refresh()
    return [match.path for match in store.find(query, count, where=where)]


@pytest.fixture(params=["catalog", "milvus"])
def opened(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Opener]:
    """Opens the same store again and again; the last one is closed at the end."""
    name = str(tmp_path / "s.bc") if request.param == "catalog" else f"milvus://{tmp_path}/s.db"
    stores: list[Store] = []

    def again() -> Store:
        if stores:
            stores[-1].close()
        stores.append(open_store(name, MODEL))
        return stores[-1]

    yield again
    if stores:
        stores[-1].close()


def entry(number: int, path: str = "", facts: Metadata | None = None) -> StoreRecord:
    return StoreRecord(
        path or f"/photos/{number:02d}.jpg",
        number.to_bytes(32, "big"),
        VECTORS[number],
        size=1000 + number,
        facts=facts or Metadata(),
    )


@pytest.fixture
def store(opened: Opener) -> Store:
    """A store of sixty pictures."""
    store = opened()
    store.add([entry(number) for number in range(len(VECTORS))])
    return store


def nearest(query: FloatArray) -> list[str]:
    """What a comparison with every vector gives."""
    order = np.argsort(-(VECTORS @ query), kind="stable")
    return [f"/photos/{number:02d}.jpg" for number in order]


def test_the_nearest_come_first_with_their_cosines(store: Store) -> None:
    assert len(store) == 60
    store.refresh()
    for query in (VECTORS[3], unit_rows(2 * VECTORS[:1] + VECTORS[1:2])[0]):
        matches = store.find(query, 7)
        assert [match.path for match in matches] == nearest(query)[:7]
        np.testing.assert_allclose([match.score for match in matches], np.sort(VECTORS @ query)[::-1][:7], atol=2e-3)
    assert [match.path for match in store.find(VECTORS[3], 500)] == nearest(VECTORS[3])


def test_what_is_added_again_is_replaced_and_not_there_twice(store: Store) -> None:
    store.add([entry(number) for number in range(10)])
    assert len(store) == 60
    store.add([StoreRecord("/photos/00.jpg", b"x" * 32, VECTORS[59], size=5)])
    assert len(store) == 60
    assert set(found(store, VECTORS[59], 2)) == {"/photos/00.jpg", "/photos/59.jpg"}


def test_what_is_deleted_is_not_found_and_the_rest_is(store: Store) -> None:
    before = store.refresh()
    assert store.refresh() == before
    gone = nearest(VECTORS[5])[:3]
    store.delete([*gone, "/photos/not there.jpg"])
    assert len(store) == 57
    assert store.refresh() != before
    assert found(store, VECTORS[5], 3) == nearest(VECTORS[5])[3:6]
    store.add([entry(5)])
    assert found(store, VECTORS[5], 1) == ["/photos/05.jpg"]


def test_what_was_written_is_there_after_opening_again(opened: Opener) -> None:
    opened().add([entry(number) for number in range(20)])
    again = opened()
    assert len(again) == 20
    assert found(again, VECTORS[7], 1) == ["/photos/07.jpg"]


def test_copies_are_found_by_each_of_their_paths(store: Store) -> None:
    store.add([entry(4, "/copies/of four.jpg")])
    assert found(store, VECTORS[4], 2)[:2] == ["/copies/of four.jpg", "/photos/04.jpg"]
    assert found(store, VECTORS[4], 1, "folder:copies") == ["/copies/of four.jpg"]
    store.delete(["/photos/04.jpg"])
    assert found(store, VECTORS[4], 1) == ["/copies/of four.jpg"]


def test_a_video_comes_once_with_its_best_frame_and_leaves_room_for_others(tmp_path: Path) -> None:
    shown: FloatArray = unit_rows(VECTORS[:1] + 0.1 * VECTORS[1:21])
    videos = [ContentRecord(b"v" * 32, shown, at_ms=tuple(range(0, 20_000, 1000)))]
    pictures = [ContentRecord(number.to_bytes(32, "big"), VECTORS[number]) for number in range(30, 36)]
    catalog = Catalog(tmp_path / "v.bc", model_name="tiny", fingerprint="f" * 64, dimension=DIMENSION)
    with closing(catalog):
        paths = ["/v.mp4", *(f"/{number}.jpg" for number in range(30, 36))]
        contents = [*videos, *pictures]
        catalog.save([Photo(path, 1, 1, one.hash) for path, one in zip(paths, contents, strict=True)], contents)
        store = SqliteStore(catalog, DIMENSION)
        store.refresh()
        matches = store.find(VECTORS[0], 4)
    assert [match.path for match in matches].count("/v.mp4") == 1
    assert len(matches) >= 4
    assert (matches[0].path, matches[0].at_ms) == ("/v.mp4", 1000 * int((shown @ VECTORS[0]).argmax()))


def test_an_empty_store_finds_nothing(opened: Opener) -> None:
    store = opened()
    assert len(store) == 0
    assert found(store, VECTORS[0], 5) == []
    assert found(store, VECTORS[0], 5, "width>1") == []
    assert store.sample(5).shape == (0, DIMENSION)
    scores, vectors = store.nearest(VECTORS[:2], 3)
    assert scores.shape == (2, 3)
    assert not scores.any()
    assert vectors.shape == (2, 3, DIMENSION)


def test_a_sample_is_of_the_stores_own_vectors(store: Store) -> None:
    store.refresh()
    sample = store.sample(12)
    assert sample.shape == (12, DIMENSION)
    assert np.allclose((sample @ VECTORS.T).max(axis=1), 1, atol=2e-3)
    assert len(np.unique((sample @ VECTORS.T).argmax(axis=1))) == 12
    assert store.sample(500).shape == (60, DIMENSION)


def test_the_vectors_of_what_was_found_can_be_had(store: Store) -> None:
    store.refresh()
    matches = store.find(VECTORS[11], 4)
    numbers = [int(match.path[8:10]) for match in matches]
    np.testing.assert_allclose(store.vectors_of([match.vector for match in matches]), VECTORS[numbers], atol=1e-3)
    asked = unit_rows(VECTORS[[2, 9]] + 0.01)
    scores, vectors = store.nearest(asked, 70)
    np.testing.assert_allclose(vectors[:, 0], VECTORS[[2, 9]], atol=1e-3)
    order = np.argsort(-(asked @ VECTORS.T), axis=1)
    np.testing.assert_allclose(vectors[:, :60], VECTORS[order], atol=1e-3)
    np.testing.assert_allclose(scores[:, :60], np.take_along_axis(asked @ VECTORS.T, order, axis=1), atol=1e-3)
    assert not scores[:, 60:].any()
    assert not vectors[:, 60:].any()


def test_what_is_not_there_is_made_only_if_asked_for(tmp_path: Path) -> None:
    for name, message in ((str(tmp_path / "x.bc"), "no index at"), (f"milvus://{tmp_path}/x.db", "no collection at")):
        with pytest.raises(InputError, match=message):
            open_store(name, MODEL, create=False)
    open_store(f"milvus://{tmp_path}/x.db", MODEL).close()
    with pytest.raises(InputError, match="named other"):
        open_store(f"milvus://{tmp_path}/x.db?collection=other", MODEL, create=False)
    assert not (tmp_path / "x.bc").exists()


def test_another_model_is_refused(opened: Opener, tmp_path: Path) -> None:
    opened().close()
    names = [name for name in (tmp_path / "s.bc", tmp_path / "s.db") if name.exists()]
    name = str(names[0]) if names[0].suffix == ".bc" else f"milvus://{names[0]}"
    with pytest.raises(ModelMismatchError, match="was made by model tiny"):
        open_store(name, ModelIdentity("other", "0" * 64, DIMENSION))


ALBUM = {
    "/p/Holiday/IMG_1.jpg": Metadata(
        4000, 3000, "2019-07-31T18:05:09", 1.0, 2.0, "Canon EOS", "Am Strand", ("Cat", "sea")
    ),
    "/p/Holiday/sub/IMGx1.jpg": Metadata(3000, 4000, "2020-01-01T00:00:00", camera="NIKON D3"),
    "/p/holidays/100%.jpg": Metadata(1000, 1000, "2020-05-31T23:59:59", keywords=("cat",)),
    '/q/a\\b "c".jpg': Metadata(),
    "/q/фото.jpg": Metadata(640, 480, caption="Море"),
}


@pytest.mark.parametrize(
    ("where", "numbers"),
    [
        ("folder:holiday", [0, 1]),
        ("folder:/p/Holiday", [0, 1]),
        ("folder:/Holiday", []),
        ("folder:/", [0, 1, 2, 3, 4]),
        ("folder!=holiday", [2, 3, 4]),
        ("name:img_1 AND width:4000", [0]),
        ('name:"100%"', [2]),
        ('name:"a\\\\b"', [3]),
        ("name:фото", [4]),
        ("name:ФОТО", [4]),
        ("name!=ФОТО", [0, 1, 2, 3]),
        ("caption:МОРЕ", [4]),
        ("caption!=ÉTÉ", [0, 4]),
        ("tag:Été", []),
        ("camera:canon", [0]),
        ("camera!=canon", [1]),
        ("caption:strand", [0]),
        ("tag:CAT", [0, 2]),
        ("tag:cat AND name:img_1", [0]),
        ("name:img_2", []),
        ('tag:cat AND (name:"100%" OR width>3000)', [0, 2]),
        ("NOT tag:cat", [1, 3, 4]),
        ("width>=3000", [0, 1]),
        ("NOT width>=3000", [2, 3, 4]),
        ("width!=640", [0, 1, 2]),
        ("megapixels>=12", [0, 1]),
        ("orientation:portrait", [1]),
        ("orientation!=portrait", [0, 2, 4]),
        ("orientation:square", [2]),
        ("date:2020", [1, 2]),
        ("date>2020-01", [2]),
        ("date>=2020-01", [1, 2]),
        ("date<2020", [0]),
        ("date<=2020-01-01", [0, 1]),
        ("date!=2020", [0]),
        ("size>1002B", [3, 4]),
        ("place:known", [0]),
        ("place:unknown AND kind:image", [1, 2, 3, 4]),
        ("favourite:yes", []),
        ("(camera:nikon OR tag:cat) AND NOT date<2020", [1, 2]),
    ],
)
def test_a_filter_lets_through_the_same_in_every_store(opened: Opener, where: str, numbers: list[int]) -> None:
    store = opened()
    store.add([entry(number, path, facts) for number, (path, facts) in enumerate(ALBUM.items())])
    paths = list(ALBUM)
    assert set(found(store, VECTORS[0], 10, where)) == {paths[number] for number in numbers}


@pytest.mark.parametrize("where", ["folder:ÉTÉ", "folder:/x/été", "name:été", "tag:ÉTÉ", "caption:ÉTÉ"])
def test_accents_and_capitals_of_any_script_are_one_word_however_they_are_written(opened: Opener, where: str) -> None:
    written = unicodedata.normalize("NFD", "Été")
    store = opened()
    store.add(
        [
            entry(0, f"/x/{written}/a.jpg", Metadata(caption=f"en {written}", keywords=(written,))),
            entry(1, "/y/été-2/b.jpg" if where.startswith("folder") else "/y/ete/b.jpg", Metadata()),
        ]
    )
    assert found(store, VECTORS[0], 10, where) == [f"/x/{written}/a.jpg"]


def test_in_milvus_an_underscore_in_a_filter_stands_for_any_letter(tmp_path: Path) -> None:
    names = {f"/{name}.jpg" for name in ("IMG_1", "IMGx1", "IMG11")}
    found_by: dict[str, set[str]] = {}
    for name in (str(tmp_path / "s.bc"), f"milvus://{tmp_path}/s.db"):
        store = open_store(name, MODEL)
        store.add([entry(number, path) for number, path in enumerate(sorted(names))])
        found_by[name[:6]] = set(found(store, VECTORS[0], 10, "name:img_1"))
        store.close()
    assert found_by.pop("milvus") == names
    assert list(found_by.values()) == [{"/IMG_1.jpg"}]


def test_a_filter_leaves_the_order_and_the_number_as_they_are(opened: Opener) -> None:
    store = opened()
    store.add([entry(number, f"/{'ab'[number % 2]}/{number:02d}.jpg") for number in range(60)])
    expected = [path.replace("photos", "b") for path in nearest(VECTORS[9]) if int(path[8:10]) % 2]
    assert found(store, VECTORS[9], 12, "folder:/b") == expected[:12]


def test_a_filter_that_cannot_be_read_points_at_the_place(store: Store) -> None:
    with pytest.raises(InputError, match="there is no field"):
        store.find(VECTORS[0], 5, where="colour:red")


def test_addresses_of_milvus_are_read() -> None:
    server = read_address("milvus://user:p%40ss@host/my_photos?tls=1")
    assert (server.uri, server.collection, server.token, server.local) == (
        "https://host:19530",
        "my_photos",
        "user:p@ss",
        False,
    )
    file = read_address("milvus:///data/x.db?collection=c")
    assert (file.uri, file.collection, file.local) == ("/data/x.db", "c", True)
    for wrong in ("milvus:///data/x", "milvus://host/x?ssl=1"):
        with pytest.raises(InputError):
            read_address(wrong)


def test_a_server_that_is_not_there_is_an_error_that_names_it() -> None:
    with pytest.raises(CatalogError, match=r"Milvus at http://127\.0\.0\.1:1: "):
        open_store("milvus://127.0.0.1:1/photos", MODEL)
