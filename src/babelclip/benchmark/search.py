"""Speed and recall of neighbour search: the graph against exact search, at several sizes."""

import sys
import tempfile
import time
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ProcessPoolExecutor
from dataclasses import dataclass
from functools import partial
from multiprocessing import get_context
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from babelclip.ann.exact import Ids, is_among
from babelclip.ann.hnsw import ground_truth
from babelclip.benchmark.machine import resident_mebibytes
from babelclip.benchmark.synthetic_vectors import (
    MADE_FINGERPRINT,
    MADE_NAME,
    SEED,
    fill,
    made_catalog,
    made_vectors,
)
from babelclip.catalog.catalog import Catalog
from babelclip.errors import InputError
from babelclip.models.model import Model
from babelclip.pipeline import LogCallback
from babelclip.search.confidence import vocabulary_vectors
from babelclip.search.tuning_queries import tuning_vectors
from babelclip.stores.sqlite_ann import CatalogNeighbours
from babelclip.vectors import FloatArray, unit_rows

K = 10
QUERIES, FILTERED_QUERIES = 300, 60
WARM_QUERIES = 20
"""Queries before the timed ones, so that files are read."""
FEWEST_VECTORS = 100
"""An index needs as many, for queries that resemble its photos."""


Answers = tuple[list[Ids], NDArray[np.float64]]
"""The ids that each query finds, and its seconds."""


@dataclass(frozen=True, slots=True)
class Workload:
    """A catalog and queries: float32 (n, d), unit rows, of which the first ``texts`` are texts; int64 (n, K) true ids.

    The catalog is of a model named ``name`` with ``fingerprint``, for another process that opens it.
    """

    catalog: Catalog
    name: str
    fingerprint: str
    queries: FloatArray
    texts: int
    truth: Ids


@dataclass(frozen=True, slots=True)
class FilteredRow:
    """What was measured behind a filter: the share that it lets through, recall (k = 10) and median milliseconds."""

    let_through: str
    share: float
    text_recall: float
    text_p50_ms: float
    image_recall: float
    image_p50_ms: float


@dataclass(frozen=True, slots=True)
class SizeRow:
    """What was measured at one size: seconds and recall (k = 10), MiB of resident memory, and of files.

    ``brute`` is the median of comparing float32 vectors with one query in numpy, as rclip does it.
    """

    vectors: int
    method: str
    build_seconds: float
    text_recall: float
    image_recall: float
    text_p50_ms: float
    text_p95_ms: float
    image_p50_ms: float
    brute_p50_ms: float
    resident_mib: float
    file_mib: float
    filtered: tuple[FilteredRow, ...] = ()


Baseline = Callable[[Workload, SizeRow], SizeRow | None]
"""Measures another index on the same workload; gets the row of ours."""


def measure_sizes(
    model: Model,
    sample: FloatArray,
    sizes: Sequence[int],
    *,
    captions: Sequence[str] = (),
    folder: Path | None = None,
    baseline: Baseline | None = None,
    progress: LogCallback = lambda what: None,
) -> list[SizeRow]:
    """Measure synthetic collections of several sizes.

    :param model: encodes the text queries
    :param sample: float32 (n, d), image vectors, unit rows
    :param sizes: numbers of vectors
    :param captions: text queries; without any, everyday words that were not used for tuning
    :param folder: where the collections are made; None takes a temporary folder
    :param baseline: measures another index on the same vectors and queries
    :param progress: receives a label for each step
    :return: a row per size, and the row of the baseline after it
    """
    texts = text_sample(model, captions)
    queries = np.concatenate([texts, *made_vectors(sample, QUERIES, seed=SEED + 1)])
    rows = []
    for size in sizes:
        with tempfile.TemporaryDirectory(dir=folder) as place:
            progress(f"making {size} vectors")
            catalog = made_catalog(Path(place) / "p.bc", sample.shape[1])
            fill(catalog, made_vectors(sample, size))
            truth = true_ids(catalog, queries)
            workload = Workload(catalog, MADE_NAME, MADE_FINGERPRINT, queries, len(texts), truth)
            progress("building")
            rows.append(_measure(workload, _build(workload, model), progress))
            if baseline is not None and (row := baseline(workload, rows[-1])) is not None:
                rows.append(row)
            catalog.close()
    return rows


def measure_index(
    path: Path, model: Model, *, captions: Sequence[str] = (), progress: LogCallback = lambda what: None
) -> SizeRow:
    """Measure the search of an index that exists, as it is: nothing is built or written.

    :param path: the file of the index
    :param model: its model
    :param captions: text queries; without any, everyday words
    :param progress: receives a label for each step
    :return: the row; building took 0 seconds
    :raises InputError: if it has fewer than FEWEST_VECTORS vectors
    """
    catalog = Catalog(path, model_name=model.name, fingerprint=model.fingerprint, dimension=model.dimension)
    try:
        opened = CatalogNeighbours(catalog.vectors, model.dimension)
        opened.refresh()
        if len(opened) < FEWEST_VECTORS:
            raise InputError(f"{path} has {len(opened)} vectors; the measurement needs at least {FEWEST_VECTORS}")
        texts = text_sample(model, captions)
        queries = np.concatenate([texts, *made_vectors(opened.sample(QUERIES), QUERIES, seed=SEED + 1)])
        progress("comparing with all vectors")
        truth = true_ids(catalog, queries)
        workload = Workload(catalog, model.name, model.fingerprint, queries, len(texts), truth)
        return _measure(workload, (opened, 0.0), progress)
    finally:
        catalog.close()


def text_sample(model: Model, captions: Sequence[str]) -> FloatArray:
    """Encode the text queries: captions, or everyday words in languages that are not used for tuning.

    :param model: encodes them
    :param captions: texts in any language
    :return: float32 (n, d), unit rows
    """
    if captions:
        chosen = np.random.default_rng(SEED).permutation(len(captions))[:QUERIES]
        return model.encode_text([captions[i] for i in chosen])
    return np.concatenate([vocabulary_vectors(model, code) for code in ("de", "tr")])[:QUERIES]


def _build(workload: Workload, model: Model) -> tuple[CatalogNeighbours, float]:
    """Build the graph of a catalog; return it with the seconds that it took."""
    start = time.perf_counter()
    built = CatalogNeighbours(workload.catalog.vectors, workload.queries.shape[1])
    built.maintain(partial(tuning_vectors, model))
    built.refresh()
    return built, time.perf_counter() - start


def _measure(workload: Workload, opened: tuple[CatalogNeighbours, float], progress: LogCallback) -> SizeRow:
    """Measure one collection whose graph was built in so many seconds."""
    (built, build_seconds), catalog, queries, texts = opened, workload.catalog, workload.queries, workload.texts
    method = "exact search"
    if built.manifest is not None:
        efforts = built.manifest.bands.efforts
        method = "graph, ef_search / candidates: " + ", ".join(f"{one.ef_search} / {one.candidates}" for one in efforts)
    filters = sample_filters(catalog) if built.manifest is not None else {}
    few = np.concatenate([queries[:texts][:FILTERED_QUERIES], queries[texts:][:FILTERED_QUERIES]])
    progress("searching")
    with ProcessPoolExecutor(1, mp_context=get_context("spawn")) as apart:
        answers, resident = apart.submit(
            _searches,
            (catalog.path, workload.name, workload.fingerprint),
            [(queries, None), *((few, allowed) for allowed in filters.values())],
            has_graph=bool(filters),
        ).result()
    (found, seconds), *filtered_answers = answers
    filtered = [
        _filtered_row(
            name, len(allowed) / len(built), answer, true_ids(catalog, few, allowed), min(texts, FILTERED_QUERIES)
        )
        for (name, allowed), answer in zip(filters.items(), filtered_answers, strict=True)
    ]
    graph_files = catalog.path.parent.rglob(f"{catalog.path.name}.neighbours/**/*")
    stored = sum(file.stat().st_size for file in graph_files if file.is_file())
    return SizeRow(
        len(built),
        method,
        build_seconds,
        *recalls(found, workload.truth, texts),
        *milliseconds(seconds, texts),
        _brute_p50_ms(catalog, queries[:WARM_QUERIES]),
        resident,
        stored / 2**20,
        tuple(filtered),
    )


def _searches(
    identity: tuple[Path, str, str], queries: Sequence[tuple[FloatArray, Ids | None]], *, has_graph: bool
) -> tuple[list[Answers], float]:
    """Search with queries among the ids that are allowed, in this process; return the answers, and the MiB that the
    open index takes after the first of them.
    """
    path, name, fingerprint = identity
    dimension = queries[0][0].shape[1]
    catalog = Catalog(path, model_name=name, fingerprint=fingerprint, dimension=dimension)
    before = resident_mebibytes()
    neighbours = CatalogNeighbours(catalog.vectors, dimension, exact_up_to=0 if has_graph else sys.maxsize)
    neighbours.refresh()

    def search(query: FloatArray, allowed: Ids | None) -> Ids:
        ids: Ids = neighbours.search(query, K, allowed=allowed)[0][0]
        return ids

    answers, resident = [], 0.0
    for some, allowed in queries:
        answers.append(timed(partial(search, allowed=allowed), some))
        resident = resident or resident_mebibytes() - before
    catalog.close()
    return answers, resident


def timed(search: Callable[[FloatArray], Ids], queries: FloatArray) -> Answers:
    """Search with one query after another, after WARM_QUERIES that are not timed.

    :param search: takes float32 (1, d), returns int64 (k,)
    :param queries: float32 (n, d)
    :return: the n answers, and float64 (n,) seconds
    """
    for query in queries[:WARM_QUERIES]:
        search(query[None])
    answers, seconds = [], []
    for query in queries:
        start = time.perf_counter()
        answers.append(search(query[None]))
        seconds.append(time.perf_counter() - start)
    return answers, np.array(seconds)


def sample_filters(catalog: Catalog) -> dict[str, Ids]:
    """Choose ids that filters allow: random ones, and, as folders may be, the most and least similar to one photo.

    :param catalog: the catalog
    :return: int64 ids by a description, ascending
    """
    rng = np.random.default_rng(SEED)
    ids, cosines, one = [], [], None
    for some, vectors in catalog.vectors.vectors_since(0):
        one = vectors[0] if one is None else one
        ids.append(some)
        cosines.append(vectors @ one)
    known, alike = np.concatenate(ids), np.concatenate(cosines)
    return {
        "a random half": known[rng.random(len(known)) < 0.5],
        "a random tenth": known[rng.random(len(known)) < 0.1],
        "the fifth most similar to one photo": known[alike > np.quantile(alike, 0.8)],
        "the fifth least similar to it": known[alike < np.quantile(alike, 0.2)],
    }


def _filtered_row(name: str, share: float, answers: Answers, truth: Ids, texts: int) -> FilteredRow:
    """What was found behind one filter."""
    found, seconds = answers
    text_recall, image_recall = recalls(found, truth, texts)
    text_p50, _, image_p50 = milliseconds(seconds, texts)
    return FilteredRow(name, share, text_recall, text_p50, image_recall, image_p50)


def milliseconds(seconds: NDArray[np.float64], texts: int) -> tuple[float, float, float]:
    """The median and the 95th percentile of texts, and the median of images."""
    of_texts = 1000 * seconds[:texts]
    return float(np.median(of_texts)), float(np.quantile(of_texts, 0.95)), 1000 * float(np.median(seconds[texts:]))


def recalls(found: Sequence[Ids], truth: Ids, texts: int) -> tuple[float, float]:
    """Recall@10 of texts and of images."""
    hits = np.array([len(np.intersect1d(a, b)) / K for a, b in zip(found, truth, strict=True)])
    return float(hits[:texts].mean()), float(hits[texts:].mean())


def true_ids(catalog: Catalog, queries: FloatArray, allowed: Ids | None = None) -> Ids:
    """The ids that are nearest indeed, of all or of those that are allowed."""
    ids: list[Ids] = []

    def blocks() -> Iterator[NDArray[np.float16]]:
        for some, vectors in catalog.vectors.vectors_since(0):
            here = slice(None) if allowed is None else is_among(some, allowed)
            ids.append(some[here])
            yield unit_rows(vectors[here]).astype(np.float16)

    rows = ground_truth(queries, K, blocks())
    found: Ids = np.concatenate(ids)[rows]
    return found


def _brute_p50_ms(catalog: Catalog, queries: FloatArray) -> float:
    """The median of a matrix product with all vectors in float32, and sorting."""
    vectors = np.concatenate([block for _, block in catalog.vectors.vectors_since(0)])
    _, seconds = timed(lambda query: np.argsort(-(vectors @ query[0]))[:K], queries)
    return 1000 * float(np.median(seconds))
