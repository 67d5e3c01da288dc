"""Hits: the results of a search."""

from dataclasses import dataclass

from babelclip.search.confidence import MatchLevel, match_level


@dataclass(frozen=True, slots=True)
class Hit:
    """A photo that matches a query.

    ``rank`` counts from 1; ``path`` is absolute; ``score`` is the cosine with the query, -1..1. ``confidence``, 0..1,
    is the estimated probability that the photo shows what a text describes; None for other queries, and in tiny
    collections. ``at_ms`` is the time of the frame in a video. ``alike`` are the near-duplicates that this hit stands
    for.
    """

    rank: int
    path: str
    score: float
    confidence: float | None = None
    at_ms: int | None = None
    alike: tuple[str, ...] = ()

    @property
    def match(self) -> MatchLevel | None:
        """The confidence in words: strong, likely, weak, or none where it is no match."""
        return None if self.confidence is None else match_level(self.confidence)
