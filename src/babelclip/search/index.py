"""Index: a photo collection that answers queries in words and pictures."""

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from types import TracebackType
from typing import TypeGuard

import numpy as np

from babelclip.catalog.catalog import Catalog, Photo
from babelclip.errors import InputError
from babelclip.indexing.indexer import IndexProgress, IndexReport, bring_up_to_date
from babelclip.media.crawl import settled
from babelclip.media.images import ImageSource
from babelclip.models.model import Model
from babelclip.query.expressions import Term, checked, sole_text
from babelclip.search import confidence
from babelclip.search.confidence import Evidence, Nearest, Strength
from babelclip.search.rerank import Choice
from babelclip.search.tuning_queries import asked_pairs, asked_sentences
from babelclip.stores import DEEPEST, Match, ModelFacts, Store, StoreProgress, open_store
from babelclip.stores.sqlite import CatalogStore
from babelclip.text.languages import BY_CODE
from babelclip.vectors import FloatArray, cosines_of, unit_rows

POOL = 5
"""Hits that are looked at for every one that is shown, where they are grouped, spread or set right for hubs."""
SAMPLE = 2000
"""Vectors that the spread of a term's scores is measured on."""


@dataclass(frozen=True, slots=True)
class Hit:
    """A photo that answers a query.

    ``rank`` counts from 1; ``path`` is absolute; ``score`` is the cosine with the query, -1..1. ``confidence``, 0..1,
    says how sure it is that the photo shows what a text says; None for other queries, and in tiny collections.
    ``at_ms`` is the time of the frame in a video. ``alike`` are near-duplicates that are shown as this one.
    """

    rank: int
    path: str
    score: float
    confidence: float | None = None
    at_ms: int | None = None
    alike: tuple[str, ...] = ()

    @property
    def match(self) -> Strength | None:
        """The word for the confidence: strong, likely, weak, or none where it is no match."""
        return None if self.confidence is None else confidence.strength(self.confidence)


class Index:
    """An open index. Use it from one thread at a time; several processes may share the file."""

    def __init__(self, store: Store, model: Model) -> None:
        """Join a store and its model; use ``Index.open``."""
        self._store = store
        self._model = model
        self._evidence: dict[str, tuple[object, Evidence | None]] = {}
        self._sample: tuple[object, FloatArray] | None = None

    @property
    def model(self) -> Model:
        """The model that its vectors are of."""
        return self._model

    @classmethod
    def open(cls, path: str | Path, model: Model, *, create: bool = True) -> "Index":
        """Open an index file or a collection of Milvus, or make one.

        :param path: the file; or milvus://HOST:PORT/COLLECTION, or milvus:///PATH/FILE.db for Milvus Lite
        :param model: the model that makes its vectors
        :param create: make what is not there; else it is an error
        :return: the index
        :raises InputError: if it is not there and shall not be made
        :raises CatalogError: if the file cannot be used
        :raises ModelMismatchError: if it was made by another model
        """
        return cls(open_store(path, ModelFacts.of(model), create=create), model)

    @classmethod
    def of(cls, catalog: Catalog, model: Model) -> "Index":
        """An index over a catalog that is open.

        :param catalog: the catalog
        :param model: the model of its vectors
        :return: the index
        """
        return cls(CatalogStore(catalog, model.dimension), model)

    def __enter__(self) -> "Index":
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def __len__(self) -> int:
        return len(self._store)

    def close(self) -> None:
        """Close the file."""
        self._store.close()

    def failures(self) -> list[tuple[str, str]]:
        """The files that could not be read.

        :return: (path, reason), in the order of paths
        """
        return self._store.failures()

    def pictures(self) -> tuple[list[Photo], FloatArray]:
        """The files that are one picture each, so without videos.

        :return: files in the order of paths, and float32 (n, d) vectors, unit rows
        """
        photos, vectors = self._file_only().catalog.pictures()
        return photos, unit_rows(vectors)

    def captures(self) -> dict[bytes, tuple[str | None, str | None]]:
        """When photos were taken and with what camera, as far as their files say so.

        :return: by hash, the time (ISO 8601, the camera's clock) and the camera; None for what is not said
        """
        return self._file_only().catalog.captures()

    def contents_of(self, paths: Iterable[str]) -> dict[str, bytes]:
        """What files hold: a name that stays when they are moved, renamed or copied.

        :param paths: absolute paths; what is not in the index is left out
        :return: sha256 by path
        """
        return self._file_only().catalog.hashes_of(paths)

    def files_of(self, content: bytes) -> list[str]:
        """The files that hold a content.

        :param content: its sha256
        :return: their paths, in order; none where it is not in the index
        """
        return self._file_only().catalog.files_of(content)

    def add_folder(self, root: str | Path, *, progress: Callable[[IndexProgress], None] | None = None) -> IndexReport:
        """Bring the index up to date with a folder: new and changed photos in, deleted ones out.

        What is done is kept even if the call is ended at any moment; the next call goes on from there.

        :param root: a folder, or one photo
        :param progress: is told how far it is
        :return: what was done
        :raises InputError: if there is nothing at that path
        :raises CatalogError: if the index cannot be written
        """
        return bring_up_to_date(self._file_only().catalog, self._model, Path(root), progress=progress)

    def _file_only(self) -> CatalogStore:
        """The store, where it is an index file; Milvus cannot do all that one can."""
        if not isinstance(self._store, CatalogStore):
            raise InputError(
                "a collection of Milvus is for searches; babelclip scale load fills it, the rest needs an index file"
            )
        return self._store

    def prepare(self, *, languages: Iterable[str] = (), progress: StoreProgress | None = None) -> None:
        """Get ready for searches: build or grow the graph that a large collection needs, and read what is new.

        A search builds nothing: it compares exactly what the graph does not contain.

        :param languages: codes, or confidence.ANY, of queries that will come: the vectors of their everyday words are
            made, once for a model
        :param progress: is told how many vectors were taken into new files, and of how many
        """
        self.maintain(progress)
        state = self.refresh()
        for language in languages if self._model.text_spec is not None else ():
            self._evidence_of(language, state)

    def maintain(self, progress: StoreProgress | None = None) -> bool:
        """Build, grow or tune the graph, if it is due. Takes minutes at a million vectors.

        :param progress: gets the number of vectors in the new graph, and of all; what it raises cancels the work
        :return: whether anything was done
        :raises CatalogError: if it cannot be written
        """
        return self._store.maintain(partial(text_queries, self._model), progress)

    def refresh(self) -> object:
        """Read what other processes have written, and adopt a newer graph. Every search does so first.

        :return: a value that is equal as long as nothing changes
        """
        return self._store.refresh()

    def search(
        self,
        query: str | ImageSource | Sequence[Term],
        k: int = 10,
        *,
        where: str | None = None,
        page: int = 1,
        grouped: bool = False,
        diversity: float = 0.0,
        language: str | None = None,
        queries_like: Sequence[str] = (),
    ) -> list[Hit]:
        """The photos that fit best.

        :param query: a text in any of the model's languages, an image (a Path, bytes, a PIL image or an array), or
            terms with weights (``expressions.read_expression`` makes them of what a person wrote)
        :param k: how many, at least 1
        :param where: a filter, such as ``folder:holiday AND NOT date<2020`` (``filters.read_filter``)
        :param page: 2 gives the k after the first k, and so on; pages of one query never share a photo
        :param grouped: show near-duplicates as one hit
        :param diversity: 0..1, how much hits shall differ from each other
        :param language: code of the text's language, for the confidence; None guesses
        :param queries_like: other queries such as this one; photos that fit many of them count less (hubness)
        :return: the best first; fewer where there are no more
        :raises InputError: if a text is blank, k, page or diversity is out of range, the filter cannot be read, or an
            image cannot be used
        """
        terms = checked(query if _are_terms(query) else [Term(query)])  # type: ignore[arg-type]
        _check_page(k, page, diversity, language, chosen=bool(grouped or diversity or queries_like))
        rows = self._model.encode([term.item for term in terms])
        weights = [term.weight for term in terms]
        texts = [term.item if isinstance(term.item, str) else None for term in terms]
        asked = sole_text(texts, weights)
        return self.nearest(
            self.combined(rows, weights),
            k,
            where=where,
            page=page,
            grouped=grouped,
            diversity=diversity,
            text=None if asked is None else texts[asked],
            text_vector=None if asked is None else unit_rows(rows)[asked],
            language=language,
            crowd=self._model.encode_text(list(queries_like)) if queries_like else None,
        )

    def similar(self, image: str | Path, k: int = 10, *, where: str | None = None) -> list[Hit]:
        """The photos that look most like one; the photo itself is left out.

        :param image: its path
        :param k: how many, at least 1
        :param where: a filter (``filters.read_filter``)
        :return: the most alike first
        :raises InputError: if k is below 1, the filter cannot be read, or the image cannot be used
        """
        path = settled(Path(image))
        found = self.nearest(self._model.encode(path), k + 1, where=where)
        hits = [hit for hit in found if hit.path != str(path)]
        return [replace(hit, rank=rank) for rank, hit in enumerate(hits[:k], 1)]

    def nearest(
        self,
        vector: FloatArray,
        k: int = 10,
        *,
        where: str | None = None,
        page: int = 1,
        grouped: bool = False,
        diversity: float = 0.0,
        text: str | None = None,
        text_vector: FloatArray | None = None,
        language: str | None = None,
        crowd: FloatArray | None = None,
    ) -> list[Hit]:
        """The photos whose vectors are nearest to one.

        :param vector: float32 (d,), of any length but zero
        :param k: how many, at least 1
        :param where: a filter (``filters.read_filter``)
        :param page: 2 gives the k after the first k, and so on; pages of one query never share a photo
        :param grouped: show near-duplicates as one hit
        :param diversity: 0..1, how much hits shall differ from each other
        :param text: what is asked for, where that is a text: then hits have a confidence
        :param text_vector: float32 (d,), the unit vector of that text, where ``vector`` is of more than it
        :param language: code of the text's language; None guesses
        :param crowd: float32 (m, d), unit rows of other queries; photos that fit many of them count less
        :return: the nearest first
        :raises InputError: if k, page, diversity or language is out of range, or the filter cannot be read
        """
        _check_page(k, page, diversity, language, chosen=bool(grouped or diversity or crowd is not None))
        state = self._store.refresh()
        unit = unit_rows(vector[None])[0]
        shown, first = self._page(unit, k, page, where, Choice(grouped, diversity, crowd))
        sure = None
        if text is not None:
            evidence = self._evidence_of(language or confidence.language_of_query(text), state)
            asked = unit if text_vector is None else text_vector
            known = first if where is None and np.allclose(asked, unit, atol=1e-6) else []
            sure = self._confidences(shown, asked, evidence, known)
        return _as_hits(shown, sure, first=(page - 1) * k + 1)

    def combined(self, rows: FloatArray, weights: Sequence[float]) -> FloatArray:
        """The vector of a query of several parts.

        Each is weighed by one over the spread of its scores in the collection, so that a picture, whose cosines with
        pictures are far apart, does not drown a text.

        :param rows: float32 (n, d), unit rows
        :param weights: n of them
        :return: float32 (d,), of unit length
        """
        weighed = np.array(weights, dtype=np.float32)
        if len(rows) > 1:
            sample = self._sample_of(self._store.refresh())
            spread = cosines_of(sample, rows).std(axis=0) if len(sample) > 1 else np.ones(len(rows), np.float32)
            weighed = weighed / np.maximum(spread, 1e-6)
        vector: FloatArray = unit_rows((weighed @ rows)[None])[0]
        return vector

    def _page(
        self, unit: FloatArray, k: int, page: int, where: str | None, choice: Choice
    ) -> tuple[list[list[Match]], list[Match]]:
        """The hits of one page, each with its near-duplicates; and the nearest, no fewer than confidence asks for.

        The candidates are found anew for pages 1, 2, 3-4, 5-8 and so on, and what an earlier page shows is left out:
        what approximate neighbours give depends on how many are asked for.
        """
        before: list[Match] = []
        nearest: list[Match] = []
        last = 0
        while True:
            first, last = last, max(1, 2 * last)
            count = max(last * k * (POOL if choice.needed else 1), confidence.NEAREST)
            found = self._store.find(unit, count, where=where)
            nearest = nearest or found
            fresh = self._chosen(found, before, (min(last, page) - first) * k, choice)
            if page <= last:
                return fresh[(page - 1 - first) * k :][:k], nearest
            before += [group[0] for group in fresh]

    def _chosen(self, found: list[Match], before: list[Match], count: int, choice: Choice) -> list[list[Match]]:
        """So many of the candidates, each with its near-duplicates; their scores stay cosines."""
        seen = {one.path for one in before}
        found = [one for one in found if one.path not in seen]
        if not found or not choice.needed:
            return [[one] for one in found[:count]]
        scores = np.array([one.score for one in found], dtype=np.float32)
        groups = choice.groups(scores, self._vectors_of(found), self._vectors_of(before), count)
        return [[found[i] for i in group] for group in groups]

    def _vectors_of(self, found: Sequence[Match]) -> FloatArray:
        return self._store.vectors_of([one.vector for one in found])

    def _confidences(
        self, groups: list[list[Match]], vector: FloatArray, evidence: Evidence | None, known: Sequence[Match]
    ) -> FloatArray | None:
        """How sure the leaders of groups are; None where nothing can be said. ``known`` are the nearest, if known."""
        if evidence is None or not groups:
            return None
        photos = self._vectors_of([group[0] for group in groups])
        ids = list(dict.fromkeys(one.vector for one in known))[: confidence.NEAREST]
        if len(ids) == confidence.NEAREST:
            nearest = self._store.vectors_of(ids)[None]
        else:
            nearest = self._store.nearest(vector[None], confidence.NEAREST)[1]
        compared = Nearest.of(vector[None], nearest, evidence.words)
        sure: FloatArray = confidence.confidences(vector[None], cosines_of(vector[None], photos), compared, evidence)[0]
        return sure

    def _sample_of(self, state: object) -> FloatArray:
        """Vectors of the collection in a state, drawn once."""
        if self._sample is None or self._sample[0] != state:
            self._sample = (state, self._store.sample(SAMPLE))
        return self._sample[1]

    def _evidence_of(self, language: str, state: object) -> Evidence | None:
        """What a language's everyday words get in the collection, whose state ``refresh`` gave."""
        known = self._evidence.get(language)
        if known is None or known[0] != state:
            evidence = None
            if len(self._store) >= confidence.FEWEST_PHOTOS:
                words = confidence.word_vectors(self._model, language)
                _, photos = self._store.nearest(words, confidence.NEAREST)
                evidence = confidence.gather_evidence(words, Nearest.of(words, photos, words))
            known = self._evidence[language] = (state, evidence)
        return known[1]


def _check_page(k: int, page: int, diversity: float, language: str | None, *, chosen: bool) -> None:
    """Refuse what cannot be searched for."""
    for name, number in (("k", k), ("page", page)):
        if number < 1:
            raise InputError(f"{name} must be at least 1, not {number}")
    deepest = DEEPEST // POOL if chosen else DEEPEST
    if k * page > deepest:
        where = f"page {page} of {k} is beyond hit {deepest}"
        raise InputError(f"{where}; a narrower query or filter finds the rest")
    if not 0 <= diversity <= 1:
        raise InputError(f"diversity must be 0 to 1, not {diversity}")
    if language is not None and language not in BY_CODE:
        raise InputError(f"language {language!r} is not known; known are {', '.join(BY_CODE)}")


def text_queries(model: Model) -> Sequence[FloatArray]:
    """Texts as they may be asked, for approximate neighbours to be tuned with.

    :param model: what encodes them
    :return: float32 (n, d), unit rows: words of all languages; and texts of several words, in ten languages; none if
        the model has no text side
    """
    if model.text_spec is None:
        return ()
    words = np.concatenate([confidence.word_vectors(model, code) for code in ("en", confidence.ANY)])
    return words, model.encode_text([*asked_sentences(), *asked_pairs()])


def _as_hits(groups: Sequence[Sequence[Match]], sure: FloatArray | None = None, *, first: int = 1) -> list[Hit]:
    """Groups as hits."""
    hits = []
    for i, (leader, *others) in enumerate(groups):
        alike = tuple(one.path for one in others)
        certain = None if sure is None else round(float(sure[i]), 4)
        hits.append(Hit(first + i, leader.path, leader.score, certain, leader.at_ms, alike))
    return hits


def _are_terms(query: object) -> TypeGuard[Sequence[Term]]:
    """Whether a query is made of terms."""
    return isinstance(query, list | tuple) and all(isinstance(one, Term) for one in query)
