import io
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

import httpx2
import pytest
from PIL import Image

from babelclip.model import Model
from babelclip.search import Index
from babelclip.service.app import create_app
from babelclip.service.service import Service
from babelclip.service.thumbnails import make_jpeg
from babelclip.settings import service_settings


@asynccontextmanager
async def searching(model: Model, photos: Path, *scopes: str) -> AsyncIterator[httpx2.AsyncClient]:
    service_settings.cache_clear()
    file = photos.parent / "photos.bc"
    with Index.open(file, model) as index:
        index.add_folder(photos)
    service = Service({"pair": model}, service_settings(), indexes={"mine": file})
    _, secret = service.accounts.create("test", scopes or ("search",))
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
    made = make_jpeg(str(file), 320)
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
