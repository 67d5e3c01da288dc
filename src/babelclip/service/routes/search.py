"""POST /v1/search: photos of the operator's indexes, by words or by a picture."""

import asyncio
import base64
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

import numpy as np
from fastapi import APIRouter, Request
from starlette.responses import Response

from babelclip.errors import InputError
from babelclip.query.expressions import sole_text
from babelclip.search.options import SearchOptions
from babelclip.service.errors import json_response
from babelclip.service.http.openapi import takes
from babelclip.service.inference.inputs import read_inputs
from babelclip.service.routes.embeddings import charged, embed
from babelclip.service.schemas.requests import SearchRequest
from babelclip.service.schemas.responses import IndexesReply, Reply, SearchReply
from babelclip.service.state import Service, read_form, service_of
from babelclip.vectors import unit_rows

if TYPE_CHECKING:
    from babelclip.search.hits import Hit
    from babelclip.search.index import Index

ROUTER = APIRouter(tags=["search"])
LEAST_NORM = 1e-4


@ROUTER.post("/v1/search", response_model=SearchReply, openapi_extra=takes(SearchRequest))
async def search(request: Request) -> Response:
    """Search an index; the best photos first."""
    service = service_of(request)
    async with service.desk.visit(request, "search") as visit:
        form = await read_form(request, visit, SearchRequest)
        mounted = service.shelf.get(form.index)
        engine = mounted.engine
        items, weights = _terms(form.query)
        asked = sole_text([_text(item) for item in items], weights)
        likes = form.queries_like or []
        options = SearchOptions(
            k=form.k,
            where=form.where,
            page=form.page,
            grouped=form.grouped,
            diversity=form.diversity,
            language=form.language,
            queries_like=tuple(likes),
        )
        inputs = await read_inputs(engine, [*items, *likes], truncate=False, fetch=service.fetch)
        vectors = unit_rows(await embed(service, request, visit, engine, inputs))
        rows, query_bank = vectors[: len(items)], vectors[len(items) :]
        if float(np.linalg.norm(np.asarray(weights) @ rows)) < LEAST_NORM:
            raise InputError("the parts of the query cancel out; change their weights")

        def work(index: "Index") -> "list[Hit]":
            return index.searcher.nearest(
                index.searcher.combine(rows, weights),
                options,
                text=None if asked is None else _text(items[asked]),
                text_vector=None if asked is None else rows[asked],
                query_bank=query_bank if likes else None,
            )

        hits = await service.shelf.ask(mounted, work)
        paths = [path for hit in hits for path in (hit.path, *hit.alike)]
        contents = await service.shelf.ask(mounted, lambda index: index.contents_of(paths))
        data = [_row(hit, contents) for hit in hits]
        if form.thumbnails:
            await _add_thumbnails(service, data)
        usage = {"prompt_tokens": visit.tokens, "total_tokens": visit.tokens, "images": visit.images}
        reply = {"object": "list", "data": data, "index": mounted.name, "model": engine.name, "usage": usage}
        return await charged(service, visit, engine, 0, json_response(reply))


@ROUTER.get("/v1/indexes", response_model=IndexesReply)
async def list_indexes(request: Request) -> Response:
    """List the mounted indexes."""
    service = service_of(request)
    await service.desk.key_of(request)
    data = [
        {"id": name, "object": "index", "model": mounted.engine.name, "photos": await service.shelf.ask(mounted, len)}
        for name, mounted in service.shelf.mounted.items()
    ]
    return json_response({"object": "list", "data": data})


def _terms(query: Any) -> tuple[list[Any], list[float]]:
    """The parts of a query without their weights, and the weights."""
    parts = query if isinstance(query, list) else [query]
    weights = [part.get("weight", 1) if isinstance(part, dict) else 1 for part in parts]
    items = [{k: v for k, v in part.items() if k != "weight"} if isinstance(part, dict) else part for part in parts]
    return items, weights


def _text(item: Any) -> str | None:
    """A part that is a text; None is a picture."""
    text: str | None = item.get("text") if isinstance(item, dict) else item
    return text


def _row(hit: "Hit", contents: Mapping[str, bytes]) -> Reply:
    """A hit as the answer has it; what is not known is left out."""
    row: Reply = {"rank": hit.rank, **_photo(hit.path, contents), "score": hit.score}
    if hit.confidence is not None:
        row |= {"confidence": hit.confidence, "match": hit.match}
    if hit.at_ms is not None:
        row["at_ms"] = hit.at_ms
    if hit.alike:
        row["alike"] = [_photo(path, contents) for path in hit.alike]
    return row


def _photo(path: str, contents: Mapping[str, bytes]) -> Reply:
    """A file, and the name that the service gives to what it holds."""
    return {"path": path, "photo": contents[path].hex() if path in contents else None}


async def _add_thumbnails(service: Service, rows: list[Reply]) -> None:
    """Small pictures beside the hits."""
    made = await asyncio.gather(*(service.thumbnails.jpeg(row["path"], at_ms=row.get("at_ms")) for row in rows))
    for row, jpeg in zip(rows, made, strict=True):
        row["thumbnail"] = jpeg and "data:image/jpeg;base64," + base64.b64encode(jpeg).decode()
