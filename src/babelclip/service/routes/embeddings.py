"""POST /v1/embeddings in OpenAI's format, and the same under DeepInfra's path."""

import base64

import numpy as np
from starlette.requests import Request
from starlette.responses import Response

from babelclip.errors import InputError
from babelclip.service.errors import json_response
from babelclip.service.http.openapi import ApiRoute
from babelclip.service.inference.inputs import read_inputs
from babelclip.service.inference.worker import InferenceWorker
from babelclip.service.request_context import admit
from babelclip.service.schemas.requests import EmbeddingsRequest
from babelclip.service.schemas.responses import EmbeddingsResponse, JsonObject
from babelclip.vectors import FloatArray, unit_rows


async def create_embeddings(request: Request) -> Response:
    """Embed texts and images, in OpenAI's form."""
    return await _embeddings(request, {})


async def create_embeddings_as_deepinfra(request: Request) -> Response:
    """Embed texts and images, under DeepInfra's path."""
    return await _embeddings(request, {"service_tier": "default"})


async def _embeddings(request: Request, extra: JsonObject) -> Response:
    async with admit(request, "embed") as context:
        body = await context.read(EmbeddingsRequest)
        service = context.service
        worker = service.worker(body.model)
        size = _dimensions(worker, body.dimensions)
        inputs = await read_inputs(worker, body.input, truncate=body.truncate, fetch=service.fetch)
        await context.reserve(worker.name, tokens=inputs.texts.tokens, images=inputs.images)
        vectors = unit_rows(await context.run(inputs.encode(worker, context.key.id)))
        if size < worker.model.dimension:
            vectors = unit_rows(vectors[:, :size])
        content = embeddings_content(vectors, worker.name, context.tokens, as_base64=body.encoding_format == "base64")
        return await context.charge(worker.name, json_response({**content, **extra}), truncated=inputs.texts.truncated)


def _dimensions(worker: InferenceWorker, dimensions: int | None) -> int:
    """The number of dimensions that a request wants, 1 to the model's dimension."""
    limit = worker.model.dimension
    if dimensions is not None and dimensions > limit:
        raise InputError(f"dimensions is {dimensions}, over the dimension of {worker.name}, {limit}")
    return dimensions or limit


def embeddings_content(vectors: FloatArray, model: str, tokens: int, *, as_base64: bool) -> JsonObject:
    """Build OpenAI's response.

    :param vectors: float32 (n, d), unit rows
    :param model: name of the model
    :param tokens: tokens that the model read
    :param as_base64: whether vectors are base64 of little-endian float32, rather than lists of numbers
    :return: the content of the response
    """
    rows = np.ascontiguousarray(vectors, dtype="<f4")
    data = [
        {
            "object": "embedding",
            "index": index,
            "embedding": base64.b64encode(row.tobytes()).decode() if as_base64 else row,
        }
        for index, row in enumerate(rows)
    ]
    usage = {"prompt_tokens": tokens, "total_tokens": tokens}
    return {"object": "list", "data": data, "model": model, "usage": usage}


ROUTES = [
    ApiRoute("POST", path, endpoint, tag="embeddings", request=EmbeddingsRequest, response=EmbeddingsResponse)
    for path, endpoint in (
        ("/v1/embeddings", create_embeddings),
        ("/v1/openai/embeddings", create_embeddings_as_deepinfra),
    )
]
