"""Prometheus metrics: counts and durations of requests, tokens, and the queue."""

from functools import partial

from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram, generate_latest

from babelclip.service.inference.batcher import Batcher

SECONDS = (0.002, 0.005, 0.01, 0.02, 0.05, 0.1, 0.2, 0.5, 1, 2, 5, 10, 30, 60)

METHODS = ("DELETE", "GET", "HEAD", "OPTIONS", "PATCH", "POST", "PUT")


class Metrics:
    """The metrics of one service. Labels are routes, models and statuses, never keys or texts."""

    def __init__(self) -> None:
        """Register the metrics."""
        self.registry = CollectorRegistry()
        counter = partial(Counter, namespace="babelclip", registry=self.registry)
        gauge = partial(Gauge, namespace="babelclip", registry=self.registry)
        self._requests = counter("requests", "Requests answered.", ("route", "method", "status"))
        self._seconds = Histogram(
            "request_seconds", "Time to the response.", ("route",), "babelclip", registry=self.registry, buckets=SECONDS
        )
        self._tokens = counter("tokens", "Tokens that models read.", ("model",))
        self._images = counter("images", "Images that models encoded.", ("model",))
        self.in_flight = gauge("requests_in_flight", "Requests in progress.")
        self._queued = gauge("queued_tokens", "Tokens in the queue of the model.", ("model",))
        self._batches = gauge("batches", "Batches that were run.", ("model",))
        self._rows = gauge("batch_rows", "Texts and images in those batches.", ("model",))

    def count_response(self, route: str, method: str, status: int, seconds: float) -> None:
        """Count a response.

        :param route: path template of the route
        :param method: HTTP method
        :param status: HTTP status
        :param seconds: duration of the request
        """
        method = method if method in METHODS else "other"
        self._requests.labels(route, method, str(status)).inc()
        self._seconds.labels(route).observe(seconds)

    def count_charge(self, model: str, tokens: int, images: int) -> None:
        """Count the usage that was charged.

        :param model: name of the model
        :param tokens: tokens that it read
        :param images: images that it encoded
        """
        self._tokens.labels(model).inc(tokens)
        self._images.labels(model).inc(images)

    def watch(self, model: str, batcher: Batcher) -> None:
        """Register the queue of a model.

        :param model: name of the model
        :param batcher: the queue
        """
        self._queued.labels(model).set_function(lambda: batcher.waiting_tokens)
        self._batches.labels(model).set_function(lambda: batcher.batches)
        self._rows.labels(model).set_function(lambda: batcher.rows)

    def text(self) -> bytes:
        """Export the metrics.

        :return: Prometheus' text format
        """
        return generate_latest(self.registry)
