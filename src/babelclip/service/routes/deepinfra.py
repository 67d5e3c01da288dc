"""POST /v1/inference/{model}: DeepInfra's own form, of embeddings and of zero-shot image classification."""

import json
import time

from fastapi import APIRouter, Request
from starlette.responses import Response

from babelclip.media.images import Pixels
from babelclip.service.errors import ApiError, json_response
from babelclip.service.http.multipart import read_parts
from babelclip.service.http.openapi import takes
from babelclip.service.inference.inputs import Inputs, image_bytes
from babelclip.service.inference.worker import Engine, Texts
from babelclip.service.metering.access import Visit
from babelclip.service.metering.prices import PICO_A_DOLLAR
from babelclip.service.routes.classify import classified
from babelclip.service.routes.embeddings import charged, embed
from babelclip.service.schemas.requests import InferenceRequest
from babelclip.service.schemas.responses import InferenceReply, Reply
from babelclip.service.state import Service, parse_form, read_form, service_of
from babelclip.vectors import unit_rows

ROUTER = APIRouter(tags=["inference"])
MULTIPART = "multipart/form-data"
TAKES = takes(InferenceRequest, MULTIPART)


@ROUTER.post("/v1/inference/{model:path}", response_model=InferenceReply, openapi_extra=TAKES)
async def infer(request: Request, model: str) -> Response:
    """Embed ``inputs`` and ``image``, or, with ``candidate_labels``, classify ``image``, in DeepInfra's form."""
    service = service_of(request)
    async with service.desk.visit(request, "embed", "classify") as visit:
        form, upload = await _read(request, visit)
        scope = "classify" if form.candidate_labels else "embed"
        if scope not in visit.key.scopes:
            raise ApiError(403, f"this key may not {scope}", kind="permission_error", code="insufficient_scope")
        engine = service.engine(model)
        if form.image is not None and upload is None:
            upload = await image_bytes(form.image, service.fetch)
        pixels = [] if upload is None else [await engine.read_image(upload)]
        if form.candidate_labels:
            return await _zero_shot(request, service, visit, engine, form, pixels)
        return await _embeddings(request, service, visit, engine, form, pixels)


async def _read(request: Request, visit: Visit) -> tuple[InferenceRequest, bytes | None]:
    """The form, and the picture where it came as a file."""
    kind = request.headers.get("content-type", "")
    if not kind.casefold().startswith(MULTIPART):
        return await read_form(request, visit, InferenceRequest), None
    body = await request.body()
    visit.bytes = len(body)
    parts = read_parts(kind, body)
    upload = parts.pop("image", None)
    fields = {name: _value(content) for name, content in parts.items()}
    if upload is not None:
        fields["image"] = "file"
    return parse_form(json.dumps(fields).encode(), InferenceRequest), upload


def _value(content: bytes) -> object:
    """A field of a form: JSON, as DeepInfra's client sends it, or else plain text."""
    text = content.decode("utf-8", "replace")
    try:
        return json.loads(text)
    except (ValueError, RecursionError):
        return text


async def _embeddings(
    request: Request, service: Service, visit: Visit, engine: Engine, form: InferenceRequest, pixels: list[Pixels]
) -> Response:
    """The vectors of the texts, then that of the picture."""
    texts = form.inputs or []
    if not texts and not pixels:
        raise ApiError(400, "there is nothing to embed: give inputs, image, or both", param="inputs")
    read = await engine.read_texts(texts, truncate=form.truncate) if texts else Texts([], 0, 0)
    places = range(len(texts), len(texts) + len(pixels))
    inputs = Inputs(read, list(range(len(texts))), pixels, list(places))
    vectors = await embed(service, request, visit, engine, inputs)
    if form.normalize:
        vectors = unit_rows(vectors)
    reply = {"embeddings": list(vectors), "input_tokens": read.tokens, **_status(visit)}
    return await charged(service, visit, engine, inputs.texts.truncated, json_response(reply))


async def _zero_shot(
    request: Request, service: Service, visit: Visit, engine: Engine, form: InferenceRequest, pixels: list[Pixels]
) -> Response:
    """The labels with their probabilities, the best first."""
    if not pixels or form.inputs:
        raise ApiError(400, "candidate_labels are of an image alone, without inputs", param="image")
    labels = form.candidate_labels or []
    _, (prediction,) = await classified(request, service, visit, engine, pixels, labels, {}, top=None)
    results = [{"label": one.label, "score": one.score} for one in prediction.ranked]
    return await charged(service, visit, engine, 0, json_response({"results": results, **_status(visit)}))


def _status(visit: Visit) -> Reply:
    """What DeepInfra's answers say of themselves."""
    status = {
        "status": "succeeded",
        "runtime_ms": round((time.perf_counter() - visit.began) * 1000),
        "cost": visit.pico / PICO_A_DOLLAR,
        "tokens_generated": 0,
        "tokens_input": visit.tokens,
    }
    return {"request_id": visit.request_id, "inference_status": status}
