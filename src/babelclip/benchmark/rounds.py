"""Measurement in rounds: repeat what other processes disturb, and report medians with their range."""

from collections.abc import Callable, Iterable
from dataclasses import dataclass
from statistics import median
from typing import Protocol, TypeVar

MOST_OTHERS = 0.1
"""Share of the machine; a round in which other processes take more is repeated."""
MOST_REPEATS = 3


@dataclass(frozen=True, slots=True)
class Measurement:
    """Median over rounds, with the lowest and the highest round; the caller knows the unit."""

    median: float
    low: float
    high: float


def spread(values: Iterable[float]) -> Measurement:
    """Summarize the rounds of a measurement.

    :param values: a value per round
    :return: their median, lowest and highest
    """
    known = sorted(values)
    return Measurement(median(known), known[0], known[-1])


class Disturbed(Protocol):
    """Result of a round, with the share of the machine that other processes took during it, where it is known."""

    @property
    def others(self) -> float | None:
        """0 to 1."""
        ...


Measured = TypeVar("Measured", bound=Disturbed)


def quietest(measure: Callable[[], Measured]) -> Measured:
    """Measure a round, and repeat it while other processes disturb it; the measured values never decide.

    :param measure: measures one round
    :return: the first undisturbed round, or the least disturbed of 1 + MOST_REPEATS
    """
    taken: list[Measured] = []
    while not taken or ((taken[-1].others or 0.0) > MOST_OTHERS and len(taken) <= MOST_REPEATS):
        taken.append(measure())
    return min(taken, key=lambda result: result.others or 0.0)
