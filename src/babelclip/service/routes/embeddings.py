"""POST /v1/embeddings in OpenAI's form, and the same under DeepInfra's path."""

import base64

import numpy as np
from fastapi import APIRouter, Request
from starlette.responses import Response

from babelclip.errors import InputError
from babelclip.service.errors import json_response
from babelclip.service.http.middleware import while_there
from babelclip.service.http.openapi import takes
from babelclip.service.inference.inputs import Inputs, read_inputs
from babelclip.service.inference.worker import Engine
from babelclip.service.metering.access import Visit
from babelclip.service.schemas.requests import EmbeddingsRequest
from babelclip.service.schemas.responses import EmbeddingsReply, Reply
from babelclip.service.state import Service, read_form, service_of
from babelclip.vectors import FloatArray, unit_rows

ROUTER = APIRouter(tags=["embeddings"])
TRUNCATED = "x-truncated-inputs"


@ROUTER.post("/v1/embeddings", response_model=EmbeddingsReply, openapi_extra=takes(EmbeddingsRequest))
async def create_embeddings(request: Request) -> Response:
    """Embed texts and images, in OpenAI's form."""
    return await _embeddings(request, {})


@ROUTER.post("/v1/openai/embeddings", response_model=EmbeddingsReply, openapi_extra=takes(EmbeddingsRequest))
async def create_embeddings_as_deepinfra(request: Request) -> Response:
    """Embed texts and images, under DeepInfra's path."""
    return await _embeddings(request, {"service_tier": "default"})


async def _embeddings(request: Request, extra: Reply) -> Response:
    """Let in, read, make room, work, charge, answer."""
    service = service_of(request)
    async with service.desk.visit(request, "embed") as visit:
        form = await read_form(request, visit, EmbeddingsRequest)
        engine = service.engine(form.model)
        size = check_dimensions(engine, form.dimensions)
        inputs = await read_inputs(engine, form.input, truncate=form.truncate, fetch=service.fetch)
        vectors = unit_rows(await embed(service, request, visit, engine, inputs))
        if size < engine.model.dimension:
            vectors = unit_rows(vectors[:, :size])
        reply = _reply(vectors, engine.name, inputs.texts.tokens, base64_form=form.encoding_format == "base64")
        response = json_response({**reply, **extra})
        return await charged(service, visit, engine, inputs.texts.truncated, response)


async def embed(service: Service, request: Request, visit: Visit, engine: Engine, inputs: Inputs) -> FloatArray:
    """Make room for a request's inputs, and encode them while the client waits.

    :param service: the service
    :param request: the request
    :param visit: its visit
    :param engine: the model
    :param inputs: what it gives
    :return: float32 (n, d), as the towers give them
    """
    await service.desk.reserve(visit, engine.name, tokens=inputs.texts.tokens, images=inputs.images)
    work = inputs.encode(engine, visit.key.id)
    return await while_there(request, work, service.settings.request_seconds)


async def charged(service: Service, visit: Visit, engine: Engine, truncated: int, response: Response) -> Response:
    """Write a finished request into the ledger, and say so in the headers of its answer.

    :param service: the service
    :param visit: its visit
    :param engine: the model
    :param truncated: texts that were cut
    :param response: the answer
    :return: the same answer
    """
    headers = await service.desk.charge(visit, engine.name)
    service.metrics.charged(engine.name, visit.tokens, visit.images)
    response.headers.update(headers)
    if truncated:
        response.headers[TRUNCATED] = str(truncated)
    return response


def check_dimensions(engine: Engine, dimensions: int | None) -> int:
    """How many numbers of a vector are wanted.

    :param engine: the model
    :param dimensions: as the request says
    :return: 1 to the model's dimension
    :raises InputError: if the model has not so many
    """
    most = engine.model.dimension
    if dimensions is not None and dimensions > most:
        raise InputError(f"dimensions is {dimensions}, and {engine.name} has {most}")
    return dimensions or most


def _reply(vectors: FloatArray, model: str, tokens: int, *, base64_form: bool) -> Reply:
    """OpenAI's answer; base64 is of little-endian float32."""
    rows = np.ascontiguousarray(vectors, dtype="<f4")
    data = [
        {
            "object": "embedding",
            "index": index,
            "embedding": base64.b64encode(row.tobytes()).decode() if base64_form else row,
        }
        for index, row in enumerate(rows)
    ]
    usage = {"prompt_tokens": tokens, "total_tokens": tokens}
    return {"object": "list", "data": data, "model": model, "usage": usage}
