"""Results of classification."""

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Ranked:
    """A label, its probability, and its path from the root of the tree; a flat label has its own name as path.

    In a tree the score includes all labels below, so it is never less than theirs.
    """

    label: str
    score: float
    path: tuple[str, ...]
    key: str = ""


@dataclass(frozen=True, slots=True)
class Prediction:
    """Classification of one image.

    ``answer`` is the best label, in a tree the lowest with more than half of its parent's score; None is "none of
    these". ``holding`` are the labels that apply: the answer, or with ``multi`` all over the limit. ``ranked`` are the
    best labels; ``none`` is the probability of "none of these", or None if it is undefined.
    """

    answer: Ranked | None
    holding: tuple[Ranked, ...]
    ranked: tuple[Ranked, ...]
    none: float | None = None

    @property
    def label(self) -> str | None:
        """Name of the answer."""
        return None if self.answer is None else self.answer.label
