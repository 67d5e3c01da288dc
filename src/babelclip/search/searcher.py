"""Search in a store: from a query to hits."""

from collections.abc import Iterable, Sequence
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import TypeGuard

import numpy as np

from babelclip.media.crawl import canonical_path
from babelclip.media.images import ImageInput
from babelclip.models.model import Model
from babelclip.query.expressions import Term, checked, sole_text
from babelclip.search.confidence import language_of_query
from babelclip.search.estimator import ConfidenceEstimator
from babelclip.search.hits import Hit
from babelclip.search.options import SearchOptions
from babelclip.search.paging import Pages
from babelclip.search.rerank import RerankOptions
from babelclip.search.tuning_queries import tuning_vectors
from babelclip.stores import Match, Store, StoreProgress
from babelclip.text.normalize import normalize_query
from babelclip.vectors import FloatArray, cosines_of, unit_rows

SAMPLE = 2000
"""Vectors on which the spread of a term's scores is measured."""

Query = str | ImageInput | Sequence[Term]


class Searcher:
    """Searches one store. Use it from one thread at a time."""

    def __init__(self, store: Store, model: Model) -> None:
        """Take a store and the model of its vectors.

        :param store: the store
        :param model: the model
        """
        self._store = store
        self._model = model
        self._estimator = ConfidenceEstimator(store, model)
        self._sample: tuple[object, FloatArray] | None = None

    def refresh(self) -> object:
        """Read what other processes have written, and adopt a newer graph. Every search does so first.

        :return: a value that is equal as long as nothing changes
        """
        return self._store.refresh()

    def maintain(self, progress: StoreProgress | None = None) -> bool:
        """Build, grow or tune the graph, if it is due. A million vectors take minutes.

        :param progress: gets the number of vectors in the new graph, and of all; what it raises cancels the work
        :return: whether anything was done
        :raises CatalogError: if it cannot be written
        """
        return self._store.maintain(partial(tuning_vectors, self._model), progress)

    def measure_backgrounds(self, languages: Iterable[str]) -> None:
        """Measure the background vocabularies of languages now, so that the first query of each is fast.

        :param languages: codes, or ``confidence.ANY``
        """
        state = self._store.refresh()
        for language in languages if self._model.text_spec is not None else ():
            self._estimator.background(language, state)

    def search(self, query: Query, options: SearchOptions) -> list[Hit]:
        """Find the photos that match best.

        :param query: a text in any of the model's languages, an image (a Path, bytes, a PIL image or an array), or
            terms with weights
        :param options: of the search
        :return: the best first; fewer where there are no more
        :raises InputError: if a text is blank, the filter cannot be read, or an image cannot be used
        """
        terms = checked(query if _are_terms(query) else [Term(query)])  # type: ignore[arg-type]
        items = [normalize_query(term.item) if isinstance(term.item, str) else term.item for term in terms]
        rows = self._model.encode(items)
        weights = [term.weight for term in terms]
        texts = [item if isinstance(item, str) else None for item in items]
        number = sole_text(texts, weights)
        return self.nearest(
            self.combine(rows, weights),
            options,
            text=None if number is None else texts[number],
            text_vector=None if number is None else unit_rows(rows)[number],
        )

    def similar(self, image: str | Path, options: SearchOptions) -> list[Hit]:
        """Find the photos most similar to one, without the photo itself.

        :param image: its path
        :param options: of the search
        :return: the most similar first
        :raises InputError: if the filter cannot be read, or the image cannot be used
        """
        path = canonical_path(Path(image))
        hits = self.nearest(self._model.encode(path), replace(options, k=options.k + 1))
        others = [hit for hit in hits if hit.path != str(path)]
        return [replace(hit, rank=rank) for rank, hit in enumerate(others[: options.k], 1)]

    def nearest(
        self,
        vector: FloatArray,
        options: SearchOptions,
        *,
        text: str | None = None,
        text_vector: FloatArray | None = None,
        query_bank: FloatArray | None = None,
    ) -> list[Hit]:
        """Find the photos whose vectors are nearest to one.

        :param vector: float32 (d,), of any length but zero
        :param options: of the search
        :param text: the text that the query consists of, if it is one: then hits have a confidence
        :param text_vector: float32 (d,), the unit vector of that text, where ``vector`` has other terms too
        :param query_bank: float32 (m, d), unit rows of ``options.queries_like``; None encodes them
        :return: the nearest first
        :raises InputError: if the filter cannot be read
        """
        if query_bank is None and options.queries_like:
            query_bank = self._model.encode_text([normalize_query(text) for text in options.queries_like])
        state = self._store.refresh()
        unit = unit_rows(vector[None])[0]
        rerank = RerankOptions(options.grouped, options.diversity, query_bank)
        pages = Pages(self._store, unit, k=options.k, where=options.where, rerank=rerank)
        groups, nearest = pages.page(options.page)
        estimated = None
        if text is not None:
            background = self._estimator.background(options.language or language_of_query(text), state)
            of_text = unit if text_vector is None else text_vector
            known = nearest if options.where is None and np.allclose(of_text, unit, atol=1e-6) else []
            estimated = self._estimator.estimate([group[0] for group in groups], of_text, background, known)
        return _as_hits(groups, estimated, first_rank=(options.page - 1) * options.k + 1)

    def combine(self, rows: FloatArray, weights: Sequence[float]) -> FloatArray:
        """Combine the vectors of several terms to that of the query.

        Each is divided by the spread of its scores in the collection, because the cosines of an image with photos vary
        much more than those of a text.

        :param rows: float32 (n, d), unit rows
        :param weights: n of them
        :return: float32 (d,), of unit length
        """
        scaled = np.array(weights, dtype=np.float32)
        if len(rows) > 1:
            sample = self._sample_of(self._store.refresh())
            spread = cosines_of(sample, rows).std(axis=0) if len(sample) > 1 else np.ones(len(rows), np.float32)
            scaled = scaled / np.maximum(spread, 1e-6)
        vector: FloatArray = unit_rows((scaled @ rows)[None])[0]
        return vector

    def _sample_of(self, state: object) -> FloatArray:
        """Draw vectors of the collection, once for each state."""
        if self._sample is None or self._sample[0] != state:
            self._sample = (state, self._store.sample(SAMPLE))
        return self._sample[1]


def _as_hits(groups: Sequence[Sequence[Match]], confidences: FloatArray | None, *, first_rank: int) -> list[Hit]:
    """Convert groups of matches to hits."""
    hits = []
    for i, (leader, *others) in enumerate(groups):
        alike = tuple(match.path for match in others)
        estimated = None if confidences is None else round(float(confidences[i]), 4)
        hits.append(Hit(first_rank + i, leader.path, leader.score, estimated, leader.at_ms, alike))
    return hits


def _are_terms(query: object) -> TypeGuard[Sequence[Term]]:
    """Tell whether a query consists of terms."""
    return isinstance(query, list | tuple) and all(isinstance(term, Term) for term in query)
