"""POST /v1/search: photos of the operator's indexes, by words or by a picture."""

import asyncio
import base64
from typing import Any

import numpy as np
from fastapi import APIRouter, Request
from starlette.responses import Response

from babelclip.errors import InputError
from babelclip.search import Hit
from babelclip.service.embeddings import charged, embed
from babelclip.service.errors import json_response
from babelclip.service.inputs import read_inputs
from babelclip.service.openapi import takes
from babelclip.service.schemas import IndexesReply, Reply, SearchReply, SearchRequest
from babelclip.service.service import Service, read_form, service_of
from babelclip.vectors import unit_rows

ROUTER = APIRouter(tags=["search"])
LEAST_NORM = 1e-4


@ROUTER.post("/v1/search", response_model=SearchReply, openapi_extra=takes(SearchRequest))
async def search(request: Request) -> Response:
    """The photos that fit best, the best first."""
    service = service_of(request)
    async with service.desk.visit(request, "search") as visit:
        form = await read_form(request, visit, SearchRequest)
        mounted = service.shelf.get(form.index)
        engine = mounted.engine
        items, weights = _terms(form.query)
        inputs = await read_inputs(engine, items, truncate=False, fetch=service.fetch)
        vectors = unit_rows(await embed(service, request, visit, engine, inputs))
        if float(np.linalg.norm(np.asarray(weights) @ vectors)) < LEAST_NORM:
            raise InputError("the parts of the query cancel out; change their weights")
        count = form.offset + form.k
        hits = await service.shelf.nearest(mounted, vectors, weights, count, form.where, _text(items, weights))
        hits = hits[form.offset :]
        contents = await service.shelf.contents(mounted, [hit.path for hit in hits])
        rows = [_row(hit, contents.get(hit.path)) for hit in hits]
        if form.thumbnails:
            await _add_thumbnails(service, rows)
        usage = {"prompt_tokens": visit.tokens, "total_tokens": visit.tokens, "images": visit.images}
        reply = {"object": "list", "data": rows, "index": mounted.name, "model": engine.name, "usage": usage}
        return await charged(service, visit, engine, 0, json_response(reply))


@ROUTER.get("/v1/indexes", response_model=IndexesReply)
async def list_indexes(request: Request) -> Response:
    """The indexes that can be searched."""
    service = service_of(request)
    await service.desk.key_of(request)
    data = [
        {"id": name, "object": "index", "model": mounted.engine.name, "photos": await service.shelf.count(mounted)}
        for name, mounted in service.shelf.mounted.items()
    ]
    return json_response({"object": "list", "data": data})


def _terms(query: Any) -> tuple[list[Any], list[float]]:
    """The parts of a query without their weights, and the weights."""
    parts = query if isinstance(query, list) else [query]
    weights = [part.get("weight", 1) if isinstance(part, dict) else 1 for part in parts]
    items = [{k: v for k, v in part.items() if k != "weight"} if isinstance(part, dict) else part for part in parts]
    return items, weights


def _text(items: list[Any], weights: list[float]) -> str | None:
    """The query, where it is a text alone."""
    if len(items) != 1 or weights[0] < 0:
        return None
    text = items[0].get("text") if isinstance(items[0], dict) else items[0]
    return text if isinstance(text, str) else None


def _row(hit: Hit, photo: str | None) -> Reply:
    """A hit as the answer has it; what is not known is left out."""
    row = {"rank": hit.rank, "path": hit.path, "photo": photo, "score": hit.score}
    sure = {} if hit.confidence is None else {"confidence": hit.confidence, "match": hit.match}
    return {**row, **sure, **({} if hit.at_ms is None else {"at_ms": hit.at_ms})}


async def _add_thumbnails(service: Service, rows: list[Reply]) -> None:
    """Small pictures beside the hits."""
    made = await asyncio.gather(*(service.thumbnails.jpeg(row["path"]) for row in rows))
    for row, jpeg in zip(rows, made, strict=True):
        row["thumbnail"] = jpeg and "data:image/jpeg;base64," + base64.b64encode(jpeg).decode()
