"""Faults of a pipeline: elements that are dropped, repeated, or given in another order."""

from collections.abc import Callable, Iterable, Iterator
from itertools import chain
from typing import Any

Fault = Callable[[Iterable[Any]], Iterator[Any]]


def dropped(items: Iterable[Any]) -> Iterator[Any]:
    """Every second element is missing."""
    return (item for number, item in enumerate(items) if number % 2 == 0)


def repeated(items: Iterable[Any]) -> Iterator[Any]:
    """Every element comes twice in a row, and the first again at the end."""
    first: list[Any] = []
    for item in items:
        first = first or [item]
        yield from (item, item)
    yield from first


def reordered(items: Iterable[Any]) -> Iterator[Any]:
    """The last element comes first."""
    return chain(reversed(list(items)))


FAULTS: tuple[Fault, ...] = (dropped, repeated, reordered)


def fault_name(fault: Fault) -> str:
    """The name of a fault in the name of a test."""
    return getattr(fault, "__name__", "")


def faulty(function: Callable[..., Iterable[Any]], fault: Fault) -> Callable[..., Iterator[Any]]:
    """A function or method that gives the elements of another, with a fault."""

    def wrapped(*arguments: Any, **options: Any) -> Iterator[Any]:
        return fault(function(*arguments, **options))

    return wrapped
