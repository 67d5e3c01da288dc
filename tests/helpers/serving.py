"""What tests of the service share: a running application, and pictures."""

import base64
import io
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import httpx2
from PIL import Image
from starlette.applications import Starlette

from babelclip.models.model import Model
from babelclip.service.app import create_app
from babelclip.service.metering.keys import SCOPES, Key, KeyLimits
from babelclip.service.state import Service
from babelclip.settings import service_settings


@dataclass
class Running:
    """A service, its application, a client with a key for everything, and that key."""

    service: Service
    app: Starlette
    client: httpx2.AsyncClient
    key: Key
    secret: str

    async def embed(self, value: Any, **more: Any) -> httpx2.Response:
        return await self.client.post("/v1/embeddings", json={"model": "pair", "input": value, **more})

    def rows(self) -> int:
        return sum(usage.requests for usage in self.service.ledger.usage(["day"]))


@asynccontextmanager
async def running(
    model: Model,
    *,
    limits: KeyLimits | None = None,
    indexes: Mapping[str, Path] | None = None,
    scopes: tuple[str, ...] = SCOPES,
    **settings: Any,
) -> AsyncIterator[Running]:
    service_settings.cache_clear()
    service = Service({"pair": model}, replace(service_settings(), **settings), indexes=indexes)
    key, secret = service.keys.create("test", scopes, limits=limits)
    app = create_app(service)
    async with app.router.lifespan_context(app):
        transport = httpx2.ASGITransport(app)
        headers = {"authorization": f"Bearer {secret}"}
        async with httpx2.AsyncClient(transport=transport, base_url="http://test", headers=headers) as client:
            yield Running(service, app, client, key, secret)


def picture(size: tuple[int, int] = (40, 30), form: str = "png") -> bytes:
    file = io.BytesIO()
    Image.linear_gradient("L").resize(size).convert("RGB").save(file, form)
    return file.getvalue()


def encoded(content: bytes) -> str:
    return base64.b64encode(content).decode()
