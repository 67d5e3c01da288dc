"""POST /v1/classify: zero-shot classification of images by labels in any language."""

from starlette.requests import Request
from starlette.responses import Response

from babelclip.service.errors import json_response
from babelclip.service.http.openapi import ApiRoute
from babelclip.service.inference.classifier_cache import read_labels
from babelclip.service.inference.inputs import read_images
from babelclip.service.request_context import admit
from babelclip.service.schemas.requests import ClassifyRequest
from babelclip.service.schemas.responses import ClassifyResponse, JsonObject
from babelclip.zeroshot import Prediction, Ranked

OPTIONS = {"templates", "language", "multi", "abstain", "temperature", "label_smoothing"}
"""Fields of the request that are options of Classifier."""


async def classify(request: Request) -> Response:
    """Classify images by labels in any language, or as none of these."""
    async with admit(request, "classify") as context:
        body = await context.read(ClassifyRequest)
        service = context.service
        worker = service.worker(body.model)
        images = [body.images] if isinstance(body.images, str) else body.images
        pixels = await read_images(worker, dict(enumerate(images)), service.fetch, of=len(images))
        texts = await read_labels(worker, body.labels)
        await context.reserve(worker.name, tokens=texts.tokens, images=len(pixels))
        options = body.model_dump(include=OPTIONS)
        work = service.classifiers.predict(worker, context.key.id, pixels, body.labels, options, top=body.top)
        classifier, predictions = await context.run(work)
        content = {
            "object": "list",
            "data": [{"index": index, **_row(prediction)} for index, prediction in enumerate(predictions)],
            "model": worker.name,
            "language": classifier.language,
            "usage": {"prompt_tokens": context.tokens, "total_tokens": context.tokens, "images": context.images},
        }
        return await context.charge(worker.name, json_response(content))


def _row(prediction: Prediction) -> JsonObject:
    """A prediction as the response has it."""
    row: JsonObject = {
        "label": prediction.label,
        "holding": [_label_score(ranked) for ranked in prediction.holding],
        "ranked": [_label_score(ranked) for ranked in prediction.ranked],
    }
    return row if prediction.none is None else {**row, "none": prediction.none}


def _label_score(ranked: Ranked) -> JsonObject:
    path = {"path": list(ranked.path)} if len(ranked.path) > 1 else {}
    return {"label": ranked.label, "score": ranked.score, **path}


ROUTES = [
    ApiRoute("POST", "/v1/classify", classify, tag="classification", request=ClassifyRequest, response=ClassifyResponse)
]
