"""POST /v1/classify: what pictures show, by labels in any language."""

from collections.abc import Mapping, Sequence
from typing import Any

from fastapi import APIRouter, Request
from starlette.responses import Response

from babelclip.errors import InputError
from babelclip.media.images import Pixels
from babelclip.service.errors import json_response
from babelclip.service.http.middleware import while_there
from babelclip.service.http.openapi import takes
from babelclip.service.inference.inputs import read_images
from babelclip.service.inference.worker import Engine
from babelclip.service.metering.access import Visit
from babelclip.service.routes.embeddings import charged
from babelclip.service.schemas.requests import MAX_LABELS, ClassifyRequest
from babelclip.service.schemas.responses import ClassifyReply, Reply
from babelclip.service.state import Service, read_form, service_of
from babelclip.vectors import unit_rows
from babelclip.zeroshot import Classifier, Prediction, Ranked
from babelclip.zeroshot.labels import as_labels

ROUTER = APIRouter(tags=["classification"])


@ROUTER.post("/v1/classify", response_model=ClassifyReply, openapi_extra=takes(ClassifyRequest))
async def classify(request: Request) -> Response:
    """Classify images by labels in any language, or as none of these."""
    service = service_of(request)
    async with service.desk.visit(request, "classify") as visit:
        form = await read_form(request, visit, ClassifyRequest)
        engine = service.engine(form.model)
        images = [form.images] if isinstance(form.images, str) else form.images
        pixels = await read_images(engine, dict(enumerate(images)), service.fetch, of=len(images))
        options = form.model_dump(include={"templates", "language", "multi", "abstain", "temperature", "doubt"})
        found, predictions = await classified(
            request, service, visit, engine, pixels, form.labels, options, top=form.top
        )
        data = [{"index": place, **_row(one)} for place, one in enumerate(predictions)]
        usage = {"prompt_tokens": visit.tokens, "total_tokens": visit.tokens, "images": visit.images}
        reply = {"object": "list", "data": data, "model": engine.name, "language": found.language, "usage": usage}
        return await charged(service, visit, engine, 0, json_response(reply))


async def classified(
    request: Request,
    service: Service,
    visit: Visit,
    engine: Engine,
    pixels: Sequence[Pixels],
    labels: Sequence[str] | Mapping[str, Any],
    options: Mapping[str, Any],
    *,
    top: int | None,
) -> tuple[Classifier, list[Prediction]]:
    """Make room for pictures and labels, and compare them while the client waits.

    Labels cost their own tokens, whether or not their vectors are still there; what templates add is free.

    :param request: the request
    :param service: the service
    :param visit: its visit
    :param engine: the model
    :param pixels: of engine.read_image
    :param labels: as Classifier takes them
    :param options: of Classifier, by name
    :param top: how many labels are ranked; None is all
    :return: the labels' classifier, and a prediction a picture
    :raises InputError: if the labels cannot be used, or are too many
    """
    read = as_labels(labels)
    if len(read) > MAX_LABELS:
        raise InputError(f"there are {len(read)} labels, over the limit of {MAX_LABELS} a request")
    texts = await engine.read_texts([text for label in read for text in label.texts], truncate=False)
    await service.desk.reserve(visit, engine.name, tokens=texts.tokens, images=len(pixels))

    async def work() -> tuple[Classifier, list[Prediction]]:
        classifier = await service.classifiers.get(engine, visit.key.id, labels, options)
        vectors = unit_rows(await engine.encode_images(visit.key.id, pixels))
        return classifier, classifier.predict(vectors, top)

    return await while_there(request, work(), service.settings.request_seconds)


def _row(prediction: Prediction) -> Reply:
    """A prediction as the answer has it."""
    row: Reply = {
        "label": prediction.label,
        "holding": [_ranked(one) for one in prediction.holding],
        "ranked": [_ranked(one) for one in prediction.ranked],
    }
    return row if prediction.none is None else {**row, "none": prediction.none}


def _ranked(one: Ranked) -> Reply:
    return {"label": one.label, "score": one.score, **({"path": list(one.path)} if len(one.path) > 1 else {})}
