"""Models, usage, health, readiness and metrics of the service."""

import asyncio

from starlette.requests import Request
from starlette.responses import Response

from babelclip.service.errors import ApiError, json_response
from babelclip.service.http.openapi import JSON, ApiRoute
from babelclip.service.inference.worker import InferenceWorker
from babelclip.service.metering.prices import price_of
from babelclip.service.metering.usage import read_groups, usage_csv, usage_row
from babelclip.service.schemas.requests import UsageParameters, parse_parameters
from babelclip.service.schemas.responses import JsonObject, ModelCard, ModelsResponse, UsageResponse
from babelclip.service.state import Service, service_of

PICO_TO_MILLION = 1e-6
"""Picodollars each -> dollars per million."""
METRICS_TYPE = "text/plain; version=0.0.4; charset=utf-8"
ANY_JSON: dict[str, object] = {JSON: {"schema": {}}}


async def list_models(request: Request) -> Response:
    """List the models of this service and their prices."""
    service = service_of(request)
    await service.access.authenticate(request)
    cards = [_card(service, worker) for worker in service.workers.values()]
    return json_response({"object": "list", "data": cards})


async def show_model(request: Request) -> Response:
    """Return one model."""
    service = service_of(request)
    await service.access.authenticate(request)
    return json_response(_card(service, service.worker(request.path_params["model"])))


async def usage(request: Request) -> Response:
    """Return the usage of this key, or of all keys with the scope admin."""
    service = service_of(request)
    key = await service.access.authenticate(request)
    parameters = parse_parameters(request.query_params, UsageParameters)
    admin = "admin" in key.scopes
    if parameters.key and parameters.key != key.id and not admin:
        raise ApiError(403, "only admin keys see the usage of other keys", kind="permission_error", param="key")
    groups = read_groups(parameters.by)
    key_id = parameters.key or (None if admin else key.id)
    sums = await asyncio.to_thread(
        service.ledger.usage, groups, since=parameters.since, until=parameters.until, key_id=key_id
    )
    rows = [usage_row(row, groups) for row in sums]
    if parameters.format == "json":
        return json_response({"object": "list", "data": rows})
    return Response(usage_csv(rows, groups), media_type="text/csv", headers={"content-disposition": "attachment"})


async def health(request: Request) -> Response:
    """Report that the process is alive."""
    return json_response({"status": "ok"})


async def ready(request: Request) -> Response:
    """Report whether requests can be answered: models are compiled and databases answer."""
    checks = await service_of(request).checks()
    passed = all(checks.values())
    return json_response({"ready": passed, "checks": checks}, status=200 if passed else 503)


async def metrics(request: Request) -> Response:
    """Return metrics for Prometheus; requires the scope admin unless the operator has opened them."""
    service = service_of(request)
    if not service.settings.open_metrics:
        await service.access.authenticate(request, "admin")
    return Response(service.metrics.text(), media_type=METRICS_TYPE)


def _card(service: Service, worker: InferenceWorker) -> JsonObject:
    """A model as the response has it."""
    model = worker.model
    price = price_of(service.access.prices, worker.name)
    modalities = [name for name, spec in (("text", model.text_spec), ("image", model.image_spec)) if spec is not None]
    return {
        "id": worker.name,
        "object": "model",
        "created": 0,
        "owned_by": "babelclip",
        "dimensions": model.dimension,
        "max_tokens": model.text_spec.max_length if model.text_spec else None,
        "modalities": modalities,
        "languages": list(model.languages),
        "price_per_million_tokens": price.token * PICO_TO_MILLION,
        "price_per_million_images": price.image * PICO_TO_MILLION,
    }


ROUTES = [
    ApiRoute("GET", "/v1/models", list_models, tag="models", response=ModelsResponse),
    ApiRoute("GET", "/v1/models/{model:path}", show_model, tag="models", response=ModelCard),
    ApiRoute("GET", "/v1/usage", usage, tag="usage", parameters=UsageParameters, response=UsageResponse),
    ApiRoute("GET", "/healthz", health, tag="operation", response=ANY_JSON),
    ApiRoute("GET", "/readyz", ready, tag="operation", response=ANY_JSON),
    ApiRoute("GET", "/metrics", metrics, tag="operation", response={"text/plain": {"schema": {"type": "string"}}}),
]
