"""The options of one search."""

from dataclasses import dataclass

from babelclip.errors import InputError
from babelclip.stores import DEEPEST
from babelclip.text.languages import BY_CODE

CANDIDATES_PER_HIT = 5
"""Candidates per hit where hits are reranked: grouped, diversified or corrected for hubness."""


@dataclass(frozen=True, slots=True, kw_only=True)
class SearchOptions:
    """The options of one search, valid once they are made; the store reads the filter.

    :param k: number of hits, at least 1
    :param where: a filter, such as ``folder:holiday AND NOT date<2020`` (``filters.read_filter``); None for all photos
    :param page: 2 returns the k hits after the first k, and so on; pages of one query never share a photo
    :param grouped: show near-duplicates as one hit
    :param diversity: 0..1, how much each next hit must differ from those before it (MMR)
    :param language: code of the query's language, for the confidence; None identifies it
    :param queries_like: the query bank: other queries of the same kind; photos that match many of them count less
    :raises InputError: if k, page, diversity or language is out of range
    """

    k: int = 10
    where: str | None = None
    page: int = 1
    grouped: bool = False
    diversity: float = 0.0
    language: str | None = None
    queries_like: tuple[str, ...] = ()

    def __post_init__(self) -> None:
        for name, number in (("k", self.k), ("page", self.page)):
            if number < 1:
                raise InputError(f"{name} must be at least 1, not {number}")
        deepest = DEEPEST // CANDIDATES_PER_HIT if self.reranked else DEEPEST
        if self.k * self.page > deepest:
            beyond = f"page {self.page} of {self.k} is beyond hit {deepest}"
            raise InputError(f"{beyond}; a narrower query or filter finds the rest")
        if not 0 <= self.diversity <= 1:
            raise InputError(f"diversity must be 0 to 1, not {self.diversity}")
        if self.language is not None and self.language not in BY_CODE:
            raise InputError(f"language {self.language!r} is not known; known are {', '.join(BY_CODE)}")

    @property
    def reranked(self) -> bool:
        """Whether hits are selected among more candidates than are shown."""
        return self.grouped or self.diversity > 0 or bool(self.queries_like)
