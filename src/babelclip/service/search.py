"""POST /v1/search: photos of the operator's indexes, by words or by a picture."""

import asyncio

from fastapi import APIRouter, Request
from starlette.responses import Response

from babelclip.service.embeddings import charged, embed
from babelclip.service.errors import json_response
from babelclip.service.inputs import read_inputs
from babelclip.service.openapi import takes
from babelclip.service.schemas import IndexesReply, Reply, SearchReply, SearchRequest
from babelclip.service.service import Service, read_form, service_of

ROUTER = APIRouter(tags=["search"])


@ROUTER.post("/v1/search", response_model=SearchReply, openapi_extra=takes(SearchRequest))
async def search(request: Request) -> Response:
    """The photos that fit best, the best first."""
    service = service_of(request)
    async with service.desk.visit(request, "search") as visit:
        form = await read_form(request, visit, SearchRequest)
        mounted = service.shelf.get(form.index)
        engine = mounted.engine
        inputs = await read_inputs(engine, form.query, truncate=False, fetch=service.fetch)
        vectors = await embed(service, request, visit, engine, inputs)
        hits = await service.shelf.nearest(mounted, vectors[0], form.offset + form.k)
        rows = [{"rank": hit.rank, "path": hit.path, "score": hit.score} for hit in hits[form.offset :]]
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


async def _add_thumbnails(service: Service, rows: list[Reply]) -> None:
    """Small pictures beside the hits."""
    made = await asyncio.gather(*(asyncio.to_thread(service.shelf.thumbnail, row["path"]) for row in rows))
    for row, thumbnail in zip(rows, made, strict=True):
        row["thumbnail"] = thumbnail
