import io
import zipfile
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import httpx2
import numpy as np
import pillow_heif
import pytest
from PIL import Image

from babelclip.media.thumbnails import as_jpeg, load_thumbnail
from babelclip.models.model import Model
from babelclip.search.index import Index
from babelclip.service.app import create_app
from babelclip.service.state import Service
from babelclip.settings import service_settings
from tests.helpers.media_files import make_raw, make_video


@asynccontextmanager
async def searching(model: Model, photos: Path, *scopes: str) -> AsyncIterator[httpx2.AsyncClient]:
    service_settings.cache_clear()
    file = photos.parent / "photos.bc"
    with Index.open(file, model) as index:
        index.add_folder(photos)
    service = Service({"pair": model}, service_settings(), indexes={"mine": file})
    _, secret = service.keys.create("test", scopes or ("search",))
    app = create_app(service)
    async with app.router.lifespan_context(app):
        headers = {"authorization": f"Bearer {secret}"}
        transport = httpx2.ASGITransport(app)
        async with httpx2.AsyncClient(transport=transport, base_url="http://test", headers=headers) as client:
            yield client


@pytest.mark.anyio
async def test_a_hit_is_shown_small_by_the_name_of_its_content(pair: Model, photos: Path) -> None:
    async with searching(pair, photos) as client:
        hits = (await client.post("/v1/search", json={"query": "a dog", "k": 5})).json()["data"]
        assert len({hit["photo"] for hit in hits}) == 5
        shown = await client.get(f"/v1/indexes/mine/photos/{hits[0]['photo']}")
        assert shown.headers["content-type"] == "image/jpeg"
        with Image.open(hits[0]["path"]) as original:
            assert Image.open(io.BytesIO(shown.content)).size == original.size


@pytest.mark.anyio
@pytest.mark.parametrize(
    ("photo", "status"), [("0" * 64, 404), ("..%2f..%2fetc%2fpasswd", 404), ("a.jpg", 400), ("%2fetc%2fpasswd", 404)]
)
async def test_only_contents_of_the_index_are_shown(pair: Model, photos: Path, photo: str, status: int) -> None:
    async with searching(pair, photos) as client:
        assert (await client.get(f"/v1/indexes/mine/photos/{photo}")).status_code == status


@pytest.mark.anyio
async def test_photos_need_the_scope_search(pair: Model, photos: Path) -> None:
    async with searching(pair, photos, "embed") as client:
        answer = await client.get(f"/v1/indexes/mine/photos/{'0' * 64}")
        assert answer.status_code == 403
        assert (await client.get(answer.url, headers={"authorization": ""})).status_code == 401


def test_a_small_picture_has_nothing_of_the_files_metadata(tmp_path: Path) -> None:
    exif = Image.Exif()
    exif[0x010E] = "secret place"
    file = tmp_path / "a.jpg"
    Image.new("RGB", (900, 400), "green").save(file, exif=exif, comment=b"secret words", xmp=b"<secret/>", dpi=(99, 99))
    made = as_jpeg(load_thumbnail(str(file), 320))
    small = Image.open(io.BytesIO(made))
    assert small.size == (320, 142)
    assert b"secret" not in made
    assert "exif" not in small.info
    assert "comment" not in small.info


@pytest.mark.anyio
async def test_a_query_may_be_a_sum_of_texts_and_pictures(pair: Model, photos: Path) -> None:
    async with searching(pair, photos) as client:

        async def paths(query: object) -> list[str]:
            answer = await client.post("/v1/search", json={"query": query, "k": 5})
            return [hit["path"] for hit in answer.json()["data"]]

        likeness = await paths("a dog")
        assert await paths([{"text": "a dog", "weight": -1}]) == likeness[::-1]
        assert await paths(["a dog", {"text": "a cat", "weight": 0.0001}]) == likeness
        for bad in ([], [{"text": "a", "weight": 0}], ["a", " "], ["a", {"text": "a", "weight": -1}]):
            assert (await client.post("/v1/search", json={"query": bad})).status_code == 400


@pytest.mark.anyio
async def test_words_have_a_confidence_and_filters_hold(pair: Model, photos: Path) -> None:
    for number in range(12):
        Image.new("RGB", (50, 50), (20 * number, 90, 9)).save(photos / "inner" / f"{number}.png")
    async with searching(pair, photos) as client:
        inner = {"query": "a dog", "k": 5, "where": f'folder:"{photos / "inner"}"'}
        hits = (await client.post("/v1/search", json=inner)).json()["data"]
        assert len(hits) == 5
        assert all(Path(hit["path"]).parent.name == "inner" for hit in hits)
        assert all(hit["match"] in ("strong", "likely", "weak", "none") and 0 <= hit["confidence"] <= 1 for hit in hits)
        summed = await client.post("/v1/search", json={"query": ["a dog", "a cat"]})
        assert "confidence" not in summed.json()["data"][0]
        unread = await client.post("/v1/search", json={"query": "a dog", "where": "folder:"})
        assert unread.status_code == 400


@pytest.fixture
def varied(photos: Path) -> Path:
    """Photos of which some are nearly the same, one is in an archive, one in HEIC."""
    rng = np.random.default_rng(5)
    for number in range(16):
        coarse = Image.fromarray(rng.integers(0, 256, (4, 5, 3), dtype=np.uint8)).resize((90, 70))
        coarse.save(photos / f"{number}.png")
        if number < 4:
            coarse.save(photos / f"{number}-again.jpg", quality=95)
    with zipfile.ZipFile(photos / "s.zip", "w") as archive:
        archive.writestr("trip/packed.png", (photos / "5.png").read_bytes() + b"\0")
    pillow_heif.from_pillow(coarse.rotate(90)).save(photos / "phone.heic")
    return photos


async def ask(client: httpx2.AsyncClient, query: object, **options: object) -> list[dict[str, Any]]:
    answer = await client.post("/v1/search", json={"query": query, **options})
    assert answer.status_code == 200, answer.text
    hits: list[dict[str, Any]] = answer.json()["data"]
    return hits


@pytest.mark.anyio
@pytest.mark.parametrize("options", [{}, {"grouped": True}, {"diversity": 0.5}, {"queries_like": ["a cat", "a tree"]}])
async def test_pages_show_what_the_index_shows_and_no_photo_twice(
    pair: Model, varied: Path, options: dict[str, Any]
) -> None:
    async with searching(pair, varied) as client:
        pages = [await ask(client, "a dog", k=6, page=page, **options) for page in range(1, 8)]
    with Index.open(varied.parent / "photos.bc", pair) as index:
        expected = [index.search("a dog", 6, page=page, **options) for page in range(1, 8)]
        count = len(index)
    assert [[hit["path"] for hit in page] for page in pages] == [[hit.path for hit in page] for page in expected]
    alike = [one["path"] for page in pages for hit in page for one in hit.get("alike", [])]
    shown = [hit["path"] for page in pages for hit in page]
    assert len({*shown, *alike}) == len(shown) + len(alike) == count
    assert bool(alike) == ("grouped" in options)


@pytest.mark.anyio
async def test_other_queries_are_charged_as_the_texts_they_are(pair: Model, varied: Path) -> None:
    async with searching(pair, varied) as client:

        async def tokens(**options: object) -> int:
            answer = await client.post("/v1/search", json={"query": "a dog", **options})
            return int(answer.json()["usage"]["prompt_tokens"])

        alone = await tokens()
        assert await tokens(queries_like=["a dog", "a dog"]) == 3 * alone


@pytest.mark.anyio
async def test_words_taken_away_leave_the_confidence_of_those_asked_for(pair: Model, varied: Path) -> None:
    async with searching(pair, varied) as client:
        alone = {hit["path"]: hit["confidence"] for hit in await ask(client, "a dog", k=30)}
        less = await ask(client, ["a dog", {"text": "a cat", "weight": -0.5}], k=30)
    assert {hit["path"]: hit["confidence"] for hit in less} == pytest.approx(alone, abs=2e-3)


@pytest.mark.anyio
@pytest.mark.parametrize(
    ("wrong", "said"),
    [
        ({"page": 0}, "page"),
        ({"k": 200, "page": 51}, "beyond hit 10000"),
        ({"k": 200, "page": 11, "grouped": True}, "beyond hit 2000"),
        ({"diversity": 1.5}, "diversity"),
        ({"diversity": "much"}, "diversity"),
        ({"language": "tlh"}, "language 'tlh' is not known"),
        ({"queries_like": [""]}, "queries_like"),
        ({"queries_like": ["a"] * 1001}, "queries_like"),
        ({"where": "colour:red"}, "no field 'colour'"),
        ({"offset": 3}, "offset"),
    ],
)
async def test_options_out_of_range_are_refused(pair: Model, photos: Path, wrong: dict[str, Any], said: str) -> None:
    async with searching(pair, photos) as client:
        answer = await client.post("/v1/search", json={"query": "a dog", **wrong})
    assert answer.status_code == 400
    assert said in answer.json()["error"]["message"]
    assert "x-cost-usd" not in answer.headers


@pytest.mark.anyio
async def test_members_of_archives_heic_and_frames_of_videos_are_shown_small(pair: Model, varied: Path) -> None:
    make_video(varied / "v.mp4", seconds=6)
    make_raw(varied / "r.dng")
    async with searching(pair, varied) as client:
        hits = {Path(hit["path"]).name: hit for hit in await ask(client, "a dog", k=40, thumbnails=True)}
        for name in ("packed.png", "phone.heic", "v.mp4", "r.dng"):
            assert hits[name]["thumbnail"].startswith("data:image/jpeg;base64,"), name
            shown = await client.get(f"/v1/indexes/mine/photos/{hits[name]['photo']}")
            assert Image.open(io.BytesIO(shown.content)).format == "JPEG"
        address = f"/v1/indexes/mine/photos/{hits['v.mp4']['photo']}?at_ms="
        for at_ms, grey in ((0, 0), (4000, 80)):
            frame = Image.open(io.BytesIO((await client.get(address + str(at_ms))).content))
            assert abs(np.asarray(frame)[60, 100].mean() - grey) < 6
        assert (await client.get(address + "-1")).status_code == 400
        (varied / "s.zip").unlink()
        assert (await client.get(f"/v1/indexes/mine/photos/{hits['packed.png']['photo']}")).status_code == 404
