"""The service on Ray Serve, with autoscaled replicas. Needs the extra ``scale``."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from starlette.applications import Starlette

from babelclip.errors import InputError
from babelclip.extras import importing
from babelclip.models.model import Model
from babelclip.models.registry import DEFAULT
from babelclip.service.app import create_app
from babelclip.service.state import Service
from babelclip.settings import keep_ray_from_reporting, service_settings

ONGOING_TARGET = 16
"""Concurrent requests per replica above which another replica is started: enough to fill batches."""
ONGOING_LIMIT = 256
UPSCALE_SECONDS = 10
DOWNSCALE_SECONDS = 300
SHUTDOWN_SECONDS = 30
ARGUMENTS = ("models", "indexes", "min_replicas", "max_replicas", "cpus")


@dataclass(frozen=True, slots=True)
class ReplicaPlan:
    """Models and indexes of a replica, and the number of replicas; ``cpus`` are per replica."""

    models: tuple[str, ...] = (DEFAULT,)
    indexes: tuple[tuple[str, Path], ...] = ()
    min_replicas: int = 1
    max_replicas: int = 4
    cpus: int = 2


def read_plan(arguments: Mapping[str, Any]) -> ReplicaPlan:
    """Parse the arguments of ``serve run``.

    :param arguments: ``models=NAME,...``, ``indexes=NAME=FILE,...``, ``min_replicas``, ``max_replicas``, ``cpus``
    :return: the plan
    :raises InputError: if an argument is unknown or invalid
    """
    unknown = [name for name in arguments if name not in ARGUMENTS]
    if unknown:
        raise InputError(f"{unknown[0]!r} is not an argument of the service; use {', '.join(ARGUMENTS)}")
    indexes = [item.partition("=") for item in _items(arguments.get("indexes", ""))]
    bad = next((name for name, equals, file in indexes if not (name and equals and file)), None)
    if bad is not None:
        raise InputError(f"indexes has {bad!r}, which is not NAME=FILE")
    numbers = {name: _count(name, arguments[name]) for name in ARGUMENTS[2:] if name in arguments}
    plan = ReplicaPlan(
        models=tuple(_items(arguments.get("models", ""))) or (DEFAULT,),
        indexes=tuple((name, Path(file)) for name, _, file in indexes),
        **numbers,
    )
    if plan.max_replicas < plan.min_replicas:
        raise InputError(f"max_replicas is {plan.max_replicas}, less than min_replicas, {plan.min_replicas}")
    return plan


def application(models: Sequence[str], indexes: Mapping[str, Path]) -> Callable[[], Starlette]:
    """Build the function that creates the application in each replica.

    :param models: names or folders
    :param indexes: name -> index file
    :return: a function that loads the models and creates the application
    """

    def make() -> Starlette:
        return create_app(Service({name: Model.load(name) for name in models}, service_settings(), indexes=indexes))

    return make


def build(arguments: dict[str, str]) -> Any:
    """Build the application for ``serve run babelclip.service.ray_serve:build models=mini``.

    :param arguments: as ``read_plan`` takes them
    :return: an application of Ray Serve
    :raises InputError: if an argument is invalid
    :raises MissingDependencyError: if Ray Serve is not installed
    """
    plan = read_plan(arguments)
    keep_ray_from_reporting()
    with importing("scale"):
        from ray import serve
    ingress = serve.ingress(application(plan.models, dict(plan.indexes)))()
    deployment = serve.deployment(
        ingress,
        name="babelclip",
        max_ongoing_requests=ONGOING_LIMIT,
        graceful_shutdown_timeout_s=SHUTDOWN_SECONDS,
        ray_actor_options={"num_cpus": plan.cpus},
        autoscaling_config={
            "min_replicas": plan.min_replicas,
            "max_replicas": plan.max_replicas,
            "target_ongoing_requests": ONGOING_TARGET,
            "upscale_delay_s": UPSCALE_SECONDS,
            "downscale_delay_s": DOWNSCALE_SECONDS,
        },
    )
    return deployment.bind()


def _items(text: str) -> list[str]:
    return [item.strip() for item in text.split(",") if item.strip()]


def _count(name: str, value: object) -> int:
    text = str(value)
    if not text.isdecimal() or int(text) < 1:
        raise InputError(f"{name}={text!r} is not a whole number of at least 1")
    return int(text)
