"""POST /v1/search: search the mounted indexes by text, by image, or by an expression of both."""

import asyncio
import base64
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

import numpy as np
from starlette.requests import Request
from starlette.responses import Response

from babelclip.errors import InputError
from babelclip.query.expressions import sole_text
from babelclip.search.options import SearchOptions
from babelclip.service.errors import json_response
from babelclip.service.http.openapi import ApiRoute
from babelclip.service.inference.inputs import read_inputs
from babelclip.service.request_context import admit
from babelclip.service.schemas.requests import SearchRequest
from babelclip.service.schemas.responses import IndexesResponse, JsonObject, SearchResponse
from babelclip.service.state import Service, service_of
from babelclip.text.normalize import normalize_query
from babelclip.vectors import unit_rows

if TYPE_CHECKING:
    from babelclip.search.hits import Hit
    from babelclip.search.index import Index

MIN_NORM = 1e-4


async def search(request: Request) -> Response:
    """Search an index; the best photos first."""
    async with admit(request, "search") as context:
        body = await context.read(SearchRequest)
        service = context.service
        mounted = service.indexes.get(body.index)
        worker = mounted.worker
        terms, weights = _terms(body.query)
        items = [_normalized(item) for item in terms]
        sole = sole_text([_text(item) for item in items], weights)
        bank = [normalize_query(text) for text in body.queries_like or []]
        options = SearchOptions(
            k=body.k,
            where=body.where,
            page=body.page,
            grouped=body.grouped,
            diversity=body.diversity,
            language=body.language,
            queries_like=tuple(bank),
        )
        inputs = await read_inputs(worker, [*items, *bank], truncate=False, fetch=service.fetch)
        await context.reserve(worker.name, tokens=inputs.texts.tokens, images=inputs.images)
        vectors = unit_rows(await context.run(inputs.encode(worker, context.key.id)))
        rows, query_bank = vectors[: len(items)], vectors[len(items) :]
        if float(np.linalg.norm(np.asarray(weights) @ rows)) < MIN_NORM:
            raise InputError("the parts of the query cancel out; change their weights")

        def nearest(index: "Index") -> "list[Hit]":
            return index.searcher.nearest(
                index.searcher.combine(rows, weights),
                options,
                text=None if sole is None else _text(items[sole]),
                text_vector=None if sole is None else rows[sole],
                query_bank=query_bank if bank else None,
            )

        hits = await service.indexes.run(mounted, nearest)
        paths = [path for hit in hits for path in (hit.path, *hit.alike)]
        contents = await service.indexes.run(mounted, lambda index: index.contents_of(paths))
        data = [_row(hit, contents) for hit in hits]
        if body.thumbnails:
            await _add_thumbnails(service, data)
        usage = {"prompt_tokens": context.tokens, "total_tokens": context.tokens, "images": context.images}
        content = {"object": "list", "data": data, "index": mounted.name, "model": worker.name, "usage": usage}
        return await context.charge(worker.name, json_response(content))


async def list_indexes(request: Request) -> Response:
    """List the mounted indexes."""
    service = service_of(request)
    await service.access.authenticate(request)
    data = [
        {"id": name, "object": "index", "model": mounted.worker.name, "photos": await service.indexes.run(mounted, len)}
        for name, mounted in service.indexes.mounted.items()
    ]
    return json_response({"object": "list", "data": data})


def _terms(query: Any) -> tuple[list[Any], list[float]]:
    """The terms of a query expression without their weights, and the weights."""
    parts = query if isinstance(query, list) else [query]
    weights = [part.get("weight", 1) if isinstance(part, dict) else 1 for part in parts]
    items = [{k: v for k, v in part.items() if k != "weight"} if isinstance(part, dict) else part for part in parts]
    return items, weights


def _normalized(item: Any) -> Any:
    """An item whose text is in the form in which queries are embedded."""
    if isinstance(item, str):
        return normalize_query(item)
    return {**item, "text": normalize_query(item["text"])} if "text" in item else item


def _text(item: Any) -> str | None:
    """The text of a term; None for an image."""
    text: str | None = item.get("text") if isinstance(item, dict) else item
    return text


def _row(hit: "Hit", contents: Mapping[str, bytes]) -> JsonObject:
    """A hit as the response has it; unknown values are left out."""
    row: JsonObject = {"rank": hit.rank, **_photo(hit.path, contents), "score": hit.score}
    if hit.confidence is not None:
        row |= {"confidence": hit.confidence, "match": hit.match}
    if hit.at_ms is not None:
        row["at_ms"] = hit.at_ms
    if hit.alike:
        row["alike"] = [_photo(path, contents) for path in hit.alike]
    return row


def _photo(path: str, contents: Mapping[str, bytes]) -> JsonObject:
    """A path and the sha256 of its content, if it is known."""
    return {"path": path, "photo": contents[path].hex() if path in contents else None}


async def _add_thumbnails(service: Service, rows: list[JsonObject]) -> None:
    """Add thumbnails to hits."""
    made = await asyncio.gather(*(service.thumbnails.jpeg(row["path"], at_ms=row.get("at_ms")) for row in rows))
    for row, jpeg in zip(rows, made, strict=True):
        row["thumbnail"] = jpeg and "data:image/jpeg;base64," + base64.b64encode(jpeg).decode()


ROUTES = [
    ApiRoute("POST", "/v1/search", search, tag="search", request=SearchRequest, response=SearchResponse),
    ApiRoute("GET", "/v1/indexes", list_indexes, tag="search", response=IndexesResponse),
]
