"""The state of a running service: models, stores and caches, opened once and closed in order."""

import asyncio
from collections.abc import Mapping
from pathlib import Path

from starlette.requests import Request

from babelclip.models.model import Model
from babelclip.service.errors import ApiError
from babelclip.service.http.metrics import Metrics
from babelclip.service.inference.classifier_cache import ClassifierCache
from babelclip.service.inference.fetch import ImageFetcher
from babelclip.service.inference.mounted_indexes import MountedIndexes
from babelclip.service.inference.thumbnail_cache import ThumbnailCache
from babelclip.service.inference.worker import InferenceWorker
from babelclip.service.metering.access import AccessControl
from babelclip.service.metering.keys import KeyStore
from babelclip.service.metering.ledger import Ledger
from babelclip.service.metering.prices import read_prices
from babelclip.service.metering.quotas import RateLimiter
from babelclip.service.metering.tables import open_database
from babelclip.settings import ServiceSettings

PUBLISHER = "sentence-transformers/"


class Service:
    """Inference workers, API keys, ledger, mounted indexes and caches of one running service."""

    def __init__(
        self, models: Mapping[str, Model], settings: ServiceSettings, *, indexes: Mapping[str, Path] | None = None
    ) -> None:
        """Open the stores and start the inference workers.

        :param models: name -> model
        :param settings: settings of the service
        :param indexes: name -> index file
        :raises InputError: if a setting is invalid
        :raises StoreError: if the database cannot be used
        """
        self.settings = settings
        prices = read_prices(settings.prices)
        rate_limiter = RateLimiter(settings.limits_url)
        self._database = open_database(settings.database_url)
        self.keys = KeyStore(self._database)
        self.ledger = Ledger(self._database)
        self.access = AccessControl(self.keys, self.ledger, rate_limiter, prices)
        self.metrics = Metrics()
        self.workers = {
            name: InferenceWorker(
                name, model, capacity=settings.max_queue_tokens, max_pixels=settings.max_upload_pixels
            )
            for name, model in models.items()
        }
        self.indexes = MountedIndexes(indexes or {}, self.workers)
        self.thumbnails = ThumbnailCache()
        self.classifiers = ClassifierCache()
        self.fetch = ImageFetcher(settings.image_urls, max_bytes=settings.max_body_bytes)
        self.ready = False
        for name, worker in self.workers.items():
            self.metrics.watch(name, worker.batcher)

    async def start(self) -> None:
        """Start the ledger's writer, compile the models, and start to maintain the indexes."""
        self.ledger.start()
        for worker in self.workers.values():
            await asyncio.to_thread(worker.warm)
        self.indexes.start()
        self.ready = True

    async def close(self) -> None:
        """Finish accepted work, write the ledger, and close the stores."""
        self.ready = False
        for worker in self.workers.values():
            await asyncio.to_thread(worker.close)
        await asyncio.to_thread(self.indexes.close)
        await self.fetch.close()
        await self.access.rate_limiter.close()
        await asyncio.to_thread(self.ledger.close)
        self._database.dispose()

    async def checks(self) -> dict[str, bool]:
        """Check the dependencies of the service.

        :return: whether the models are ready, and whether the database and the store of rate limits answer
        """
        return {
            "models": self.ready,
            "database": await asyncio.to_thread(self.keys.is_available),
            "limits": await self.access.rate_limiter.is_available(),
        }

    def worker(self, name: str) -> InferenceWorker:
        """Look up the inference worker of a model.

        :param name: name of the model, with or without the publisher's prefix
        :return: the worker
        :raises ApiError: 404, if the model is not served
        """
        worker = self.workers.get(name) or self.workers.get(name.removeprefix(PUBLISHER))
        if worker is None:
            message = f"the model {name!r} is not served here; available models: {', '.join(self.workers)}"
            raise ApiError(404, message, code="model_not_found", param="model")
        return worker


def service_of(request: Request) -> Service:
    """Get the service that a request was sent to.

    :param request: the request
    :return: the service
    """
    service: Service = request.app.state.service
    return service
