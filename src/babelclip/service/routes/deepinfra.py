"""POST /v1/inference/{model}: embeddings and zero-shot image classification in DeepInfra's format."""

import json
import time

from starlette.requests import Request
from starlette.responses import Response

from babelclip.media.images import Pixels
from babelclip.service.errors import ApiError, json_response
from babelclip.service.http.multipart import MULTIPART, parse_multipart
from babelclip.service.http.openapi import JSON, ApiRoute
from babelclip.service.inference.classifier_cache import read_labels
from babelclip.service.inference.inputs import Inputs, image_bytes
from babelclip.service.inference.worker import InferenceWorker, Texts
from babelclip.service.metering.prices import PICO_A_DOLLAR
from babelclip.service.request_context import RequestContext, admit
from babelclip.service.schemas.requests import InferenceRequest, parse_json
from babelclip.service.schemas.responses import InferenceResponse, JsonObject
from babelclip.vectors import unit_rows


async def infer(request: Request) -> Response:
    """Embed ``inputs`` and ``image``, or, with ``candidate_labels``, classify ``image``, in DeepInfra's form."""
    async with admit(request, "embed", "classify") as context:
        body, upload = await _read(context)
        scope = "classify" if body.candidate_labels else "embed"
        if scope not in context.key.scopes:
            message = f"the API key lacks the scope {scope}"
            raise ApiError(403, message, kind="permission_error", code="insufficient_scope")
        worker = context.service.worker(request.path_params["model"])
        if body.image is not None and upload is None:
            upload = await image_bytes(body.image, context.service.fetch)
        pixels = [] if upload is None else [await worker.read_image(upload)]
        if body.candidate_labels:
            return await _classify(context, worker, body, pixels)
        return await _embed(context, worker, body, pixels)


async def _read(context: RequestContext) -> tuple[InferenceRequest, bytes | None]:
    """The parsed body, and the image if it was uploaded as a file."""
    content_type = context.request.headers.get("content-type", "")
    if not content_type.casefold().startswith(MULTIPART):
        return await context.read(InferenceRequest), None
    parts = parse_multipart(content_type, await context.read_body())
    upload = parts.pop("image", None)
    fields = {name: _value(content) for name, content in parts.items()}
    if upload is not None:
        fields["image"] = "file"
    return parse_json(json.dumps(fields).encode(), InferenceRequest), upload


def _value(content: bytes) -> object:
    """The value of a form field: JSON, as DeepInfra's client sends it, or else plain text."""
    text = content.decode("utf-8", "replace")
    try:
        return json.loads(text)
    except (ValueError, RecursionError):
        return text


async def _embed(
    context: RequestContext, worker: InferenceWorker, body: InferenceRequest, pixels: list[Pixels]
) -> Response:
    """The vectors of the texts, then the vector of the image."""
    texts = body.inputs or []
    if not texts and not pixels:
        raise ApiError(400, "there is nothing to embed; send inputs, image, or both", param="inputs")
    read = await worker.read_texts(texts, truncate=body.truncate) if texts else Texts([], 0, 0)
    positions = range(len(texts), len(texts) + len(pixels))
    inputs = Inputs(read, list(range(len(texts))), pixels, list(positions))
    await context.reserve(worker.name, tokens=read.tokens, images=inputs.images)
    vectors = await context.run(inputs.encode(worker, context.key.id))
    if body.normalize:
        vectors = unit_rows(vectors)
    content = {"embeddings": list(vectors), "input_tokens": read.tokens, **_status(context)}
    return await context.charge(worker.name, json_response(content), truncated=read.truncated)


async def _classify(
    context: RequestContext, worker: InferenceWorker, body: InferenceRequest, pixels: list[Pixels]
) -> Response:
    """The labels with their probabilities, in descending order."""
    if not pixels or body.inputs:
        raise ApiError(400, "candidate_labels need an image, and cannot be combined with inputs", param="image")
    labels = body.candidate_labels or []
    texts = await read_labels(worker, labels)
    await context.reserve(worker.name, tokens=texts.tokens, images=len(pixels))
    work = context.service.classifiers.predict(worker, context.key.id, pixels, labels, {}, top=None)
    _, (prediction,) = await context.run(work)
    results = [{"label": ranked.label, "score": ranked.score} for ranked in prediction.ranked]
    return await context.charge(worker.name, json_response({"results": results, **_status(context)}))


def _status(context: RequestContext) -> JsonObject:
    """The request id and status object of DeepInfra's responses."""
    status = {
        "status": "succeeded",
        "runtime_ms": round((time.perf_counter() - context.started) * 1000),
        "cost": context.picodollars / PICO_A_DOLLAR,
        "tokens_generated": 0,
        "tokens_input": context.tokens,
    }
    return {"request_id": context.request_id, "inference_status": status}


ROUTES = [
    ApiRoute(
        "POST",
        "/v1/inference/{model:path}",
        infer,
        tag="inference",
        request=InferenceRequest,
        request_types=(JSON, MULTIPART),
        response=InferenceResponse,
    )
]
