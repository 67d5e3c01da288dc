"""What a classifier says of a picture."""

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Ranked:
    """A label, its probability, and its path from the top of the tree; the path of a flat label is its own name.

    In a tree the score includes all labels below, so that it is never less than theirs.
    """

    label: str
    score: float
    path: tuple[str, ...]
    key: str = ""


@dataclass(frozen=True, slots=True)
class Prediction:
    """What a picture shows.

    ``answer`` is the best label, in a tree the lowest that has more than half of what is above it; None stands for
    "none of these". ``holding`` are all labels that hold: the answer alone, or, where each is judged by itself, all
    over the limit. ``ranked`` are the best labels; ``none`` is the probability of "none of these", None where it has no
    meaning.
    """

    answer: Ranked | None
    holding: tuple[Ranked, ...]
    ranked: tuple[Ranked, ...]
    none: float | None = None

    @property
    def label(self) -> str | None:
        """The name of the answer."""
        return None if self.answer is None else self.answer.label
