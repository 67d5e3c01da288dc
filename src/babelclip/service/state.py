"""Service: everything that routes stand on, opened once and closed in order."""

import asyncio
from collections.abc import Mapping
from pathlib import Path
from typing import TypeVar

from pydantic import BaseModel, ValidationError
from starlette.requests import Request

from babelclip.models.model import Model
from babelclip.service.errors import ApiError
from babelclip.service.http.metrics import Metrics
from babelclip.service.inference.classifier_cache import Classifiers
from babelclip.service.inference.fetch import Fetcher
from babelclip.service.inference.mounted_indexes import Shelf
from babelclip.service.inference.thumbnail_cache import Thumbnails
from babelclip.service.inference.worker import Engine
from babelclip.service.metering.access import Desk, Visit
from babelclip.service.metering.keys import Accounts
from babelclip.service.metering.ledger import Ledger
from babelclip.service.metering.prices import read_prices
from babelclip.service.metering.quotas import Rates
from babelclip.service.metering.tables import open_database
from babelclip.settings import ServiceSettings

FormT = TypeVar("FormT", bound=BaseModel)
PUBLISHER = "sentence-transformers/"


class Service:
    """Models, keys, ledger and limits of one running service."""

    def __init__(
        self, models: Mapping[str, Model], settings: ServiceSettings, *, indexes: Mapping[str, Path] | None = None
    ) -> None:
        """Open the stores and put the models to work.

        :param models: name -> model
        :param settings: of the service
        :param indexes: name -> file of an index to search
        :raises InputError: if a setting cannot be used
        :raises StoreError: if the database cannot be used
        """
        self.settings = settings
        prices = read_prices(settings.prices)
        rates = Rates(settings.limits_url)
        self._database = open_database(settings.database_url)
        self.accounts = Accounts(self._database)
        self.ledger = Ledger(self._database)
        self.desk = Desk(self.accounts, self.ledger, rates, prices)
        self.metrics = Metrics()
        self.engines = {
            name: Engine(name, model, capacity=settings.max_queue_tokens, max_pixels=settings.max_upload_pixels)
            for name, model in models.items()
        }
        self.shelf = Shelf(indexes or {}, self.engines)
        self.thumbnails = Thumbnails()
        self.classifiers = Classifiers()
        self.fetch = Fetcher(settings.image_urls, max_bytes=settings.max_body_bytes)
        self.ready = False
        for name, engine in self.engines.items():
            self.metrics.watch(name, engine.batcher)

    async def start(self) -> None:
        """Compile the models, and begin to write the ledger."""
        self.ledger.start()
        for engine in self.engines.values():
            await asyncio.to_thread(engine.warm)
        self.shelf.start()
        self.ready = True

    async def close(self) -> None:
        """Finish what was taken, write the ledger, and close the stores."""
        self.ready = False
        for engine in self.engines.values():
            await asyncio.to_thread(engine.close)
        await asyncio.to_thread(self.shelf.close)
        await self.fetch.close()
        await self.desk.rates.close()
        await asyncio.to_thread(self.ledger.close)
        self._database.dispose()

    async def checks(self) -> dict[str, bool]:
        """Whether what the service needs is there.

        :return: models, database and limits
        """
        return {
            "models": self.ready,
            "database": await asyncio.to_thread(self.accounts.answers),
            "limits": await self.desk.rates.check(),
        }

    def engine(self, name: str) -> Engine:
        """The model that a request names.

        :param name: as the service lists it; the publisher's name before it may be left out or not
        :return: the engine
        :raises ApiError: 404, if it is not served here
        """
        engine = self.engines.get(name) or self.engines.get(name.removeprefix(PUBLISHER))
        if engine is None:
            message = f"the model {name!r} is not served here; served are {', '.join(self.engines)}"
            raise ApiError(404, message, code="model_not_found", param="model")
        return engine


def service_of(request: Request) -> Service:
    """The service that a request came to.

    :param request: the request
    :return: the service
    """
    service: Service = request.app.state.service
    return service


async def read_form(request: Request, visit: Visit, form: type[FormT]) -> FormT:
    """The body of a request, in its form.

    :param request: the request
    :param visit: which remembers the size of the body
    :param form: the form
    :return: what it holds
    :raises ApiError: 400, if it does not have the form; 415, if it is not JSON
    """
    kind = request.headers.get("content-type", "application/json").partition(";")[0].strip().casefold()
    if kind != "application/json" and not kind.endswith("+json"):
        raise ApiError(415, f"the body must be application/json, not {kind[:80]!r}", code="unsupported_media_type")
    body = await request.body()
    visit.bytes = len(body)
    return parse_form(body, form)


def parse_form(body: bytes, form: type[FormT]) -> FormT:
    """JSON, in its form.

    :param body: the JSON
    :param form: the form
    :return: what it holds
    :raises ApiError: 400, naming the field that is wrong
    """
    try:
        return form.model_validate_json(body)
    except ValidationError as error:
        first = error.errors(include_url=False, include_context=False, include_input=False)[0]
    field = ".".join(str(part) for part in first["loc"]) or None
    code = "invalid_json" if first["type"] == "json_invalid" else "invalid_value"
    message = first["msg"].removeprefix("Value error, ")
    raise ApiError(400, f"{field}: {message}" if field else message, code=code, param=field)
