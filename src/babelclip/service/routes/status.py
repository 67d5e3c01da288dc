"""What the service says of itself: models, usage, health, readiness and metrics."""

import asyncio
from typing import Annotated, Literal

from fastapi import APIRouter, Query, Request
from starlette.responses import PlainTextResponse, Response

from babelclip.service.errors import ApiError, json_response
from babelclip.service.inference.worker import Engine
from babelclip.service.metering.prices import price_of
from babelclip.service.metering.usage import read_groups, usage_csv, usage_row
from babelclip.service.schemas.responses import ModelCard, ModelsReply, Reply, UsageReply
from babelclip.service.state import Service, service_of

ROUTER = APIRouter()
PICO_TO_MILLION = 1e-6
"""Picodollars each -> dollars a million."""
METRICS_TYPE = "text/plain; version=0.0.4; charset=utf-8"

Day = Annotated[str, Query(pattern=r"^(\d{4}-\d{2}-\d{2})?$", description="YYYY-MM-DD, UTC")]


@ROUTER.get("/v1/models", response_model=ModelsReply, tags=["models"])
async def list_models(request: Request) -> Response:
    """List the models of this service and their prices."""
    service = service_of(request)
    await service.desk.key_of(request)
    cards = [_card(service, engine) for engine in service.engines.values()]
    return json_response({"object": "list", "data": cards})


@ROUTER.get("/v1/models/{model:path}", response_model=ModelCard, tags=["models"])
async def show_model(request: Request, model: str) -> Response:
    """Return one model."""
    service = service_of(request)
    await service.desk.key_of(request)
    return json_response(_card(service, service.engine(model)))


@ROUTER.get("/v1/usage", response_model=UsageReply, tags=["usage"])
async def usage(
    request: Request,
    by: Annotated[
        str, Query(max_length=20, description="Any of key, day and model, separated by commas.")
    ] = "day,model",
    since: Day = "",
    until: Day = "",
    key: Annotated[
        str, Query(pattern=r"^[0-9a-f]{0,8}$", description="Only this key; admins may select any key.")
    ] = "",
    format: Literal["json", "csv"] = "json",
) -> Response:
    """Return the usage of this key, or of all keys with the scope admin."""
    service = service_of(request)
    own = await service.desk.key_of(request)
    admin = "admin" in own.scopes
    if key and key != own.id and not admin:
        raise ApiError(403, "only admin keys may see the usage of others", kind="permission_error", param="key")
    groups = read_groups(by)
    rows = await asyncio.to_thread(
        service.ledger.usage, groups, since=since, until=until, key_id=key or (None if admin else own.id)
    )
    shown = [usage_row(row, groups) for row in rows]
    if format == "json":
        return json_response({"object": "list", "data": shown})
    return Response(usage_csv(shown, groups), media_type="text/csv", headers={"content-disposition": "attachment"})


@ROUTER.get("/healthz", tags=["operation"])
async def health() -> Response:
    """Report that the process is alive."""
    return json_response({"status": "ok"})


@ROUTER.get("/readyz", tags=["operation"])
async def ready(request: Request) -> Response:
    """Report whether requests can be answered: models are compiled and databases answer."""
    service = service_of(request)
    checks = await service.checks()
    return json_response({"ready": all(checks.values()), "checks": checks}, status=200 if all(checks.values()) else 503)


@ROUTER.get("/metrics", response_class=PlainTextResponse, tags=["operation"])
async def metrics(request: Request) -> Response:
    """Return metrics for Prometheus; requires the scope admin unless the operator has opened them."""
    service = service_of(request)
    if not service.settings.open_metrics:
        key = await service.desk.key_of(request)
        if "admin" not in key.scopes:
            raise ApiError(403, "metrics are for admin keys", kind="permission_error", code="insufficient_scope")
    return Response(service.metrics.text(), media_type=METRICS_TYPE)


def _card(service: Service, engine: Engine) -> Reply:
    """A model as the list has it."""
    model = engine.model
    price = price_of(service.desk.prices, engine.name)
    modalities = [name for name, spec in (("text", model.text_spec), ("image", model.image_spec)) if spec is not None]
    return {
        "id": engine.name,
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
