import base64
import io
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import httpx2
import numpy as np
import pytest
from PIL import Image

from babelclip.model import Model
from babelclip.service.accounts import SCOPES
from babelclip.service.app import create_app
from babelclip.service.service import Service
from babelclip.settings import service_settings


@asynccontextmanager
async def running(model: Model) -> AsyncIterator[tuple[httpx2.AsyncClient, Service]]:
    service = Service({"pair": model}, service_settings())
    _, secret = service.accounts.create("test", SCOPES)
    app = create_app(service)
    async with app.router.lifespan_context(app):
        transport = httpx2.ASGITransport(app)
        headers = {"authorization": f"Bearer {secret}"}
        async with httpx2.AsyncClient(transport=transport, base_url="http://test", headers=headers) as client:
            yield client, service


def png() -> str:
    file = io.BytesIO()
    Image.new("RGB", (40, 30), "red").save(file, "png")
    return base64.b64encode(file.getvalue()).decode()


@pytest.fixture(autouse=True)
def fresh_settings() -> None:
    service_settings.cache_clear()


@pytest.mark.anyio
async def test_texts_tokens_and_pictures_have_the_vectors_of_the_model(pair: Model) -> None:
    texts = ["a dog", "ein Hund am Strand"]
    ids = pair.tokenizer.encode(texts)
    async with running(pair) as (client, _):
        plain = await client.post("/v1/embeddings", json={"model": "pair", "input": texts})
        tokens = await client.post("/v1/embeddings", json={"model": "pair", "input": [row[1:-1] for row in ids]})
        mixed = await client.post("/v1/embeddings", json={"model": "pair", "input": [texts[0], {"image": png()}]})
    expected = pair.encode_text(texts)
    got = np.array([row["embedding"] for row in plain.json()["data"]])
    assert np.allclose(got, expected, atol=1e-5)
    assert plain.json()["usage"]["prompt_tokens"] == sum(map(len, ids))
    assert tokens.json() == plain.json()
    picture = np.array(mixed.json()["data"][1]["embedding"])
    assert np.allclose(picture, pair.encode_images(base64.b64decode(png())), atol=1e-5)
