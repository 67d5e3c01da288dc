"""How fast and how well neighbours are found: the graph against comparing with all, at several sizes."""

import json
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ProcessPoolExecutor
from dataclasses import dataclass, replace
from functools import partial
from multiprocessing import get_context
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from babelclip.ann.exact import Ids, is_among
from babelclip.ann.hnsw import ground_truth
from babelclip.benchmark import autofaiss_choice
from babelclip.benchmark.autofaiss_choice import FOUND, SECONDS, K, timed
from babelclip.benchmark.machine import resident_mebibytes
from babelclip.benchmark.made_collections import SEED, fill, made_catalog, made_vectors
from babelclip.catalog.catalog import Catalog
from babelclip.errors import InputError
from babelclip.models.model import Model
from babelclip.search.confidence import vocabulary_vectors
from babelclip.search.tuning_queries import tuning_vectors
from babelclip.stores.sqlite_ann import CatalogNeighbours
from babelclip.vectors import FloatArray, unit_rows

QUERIES, FILTERED_QUERIES = 300, 60
LONGEST_SECONDS = 600
"""What the build bar gives an index; autofaiss gets no more."""


Answers = tuple[list[Ids], NDArray[np.float64]]
"""The ids that each query finds, and its seconds."""


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


def measure_sizes(
    model: Model,
    sample: FloatArray,
    sizes: Sequence[int],
    *,
    captions: Sequence[str] = (),
    folder: Path | None = None,
    autofaiss: Path | None = None,
    progress: Callable[[str], None] = lambda what: None,
    left_out: Callable[[str], None] = lambda why: None,
) -> list[SizeRow]:
    """Measure collections of several sizes.

    :param model: what encodes the texts that are asked
    :param sample: float32 (n, d), image vectors, unit rows
    :param sizes: numbers of vectors
    :param captions: texts to ask; without any, everyday words that were not used for tuning
    :param folder: where the collections are made; None takes a temporary folder
    :param autofaiss: an interpreter that has autofaiss, whose choice is measured too
    :param progress: is told what is under way
    :param left_out: is told why there is no row of autofaiss, where it fails or takes over LONGEST_SECONDS
    :return: a row a size, and one of autofaiss after it
    """
    texts = asked_texts(model, captions)
    images = np.concatenate(list(made_vectors(sample, QUERIES, seed=SEED + 1)))
    rows = []
    for size in sizes:
        with tempfile.TemporaryDirectory(dir=folder) as place:
            progress(f"making {size} vectors")
            catalog = made_catalog(Path(place) / "p.bc", sample.shape[1])
            fill(catalog, made_vectors(sample, size))
            truth = _truth(catalog, asked := np.concatenate([texts, images]))
            rows.append(_measure(catalog, model, asked, truth, len(texts), progress))
            if autofaiss is not None:
                progress(f"autofaiss builds for {size} vectors")
                try:
                    rows.append(_measure_autofaiss(catalog, asked, truth, rows[-1], len(texts), autofaiss, Path(place)))
                except InputError as error:
                    left_out(f"{size} vectors: {error}")
            catalog.close()
    return rows


def asked_texts(model: Model, captions: Sequence[str]) -> FloatArray:
    """The texts that are asked: captions, or everyday words in languages with which nothing is tuned.

    :param model: what encodes them
    :param captions: texts in any language
    :return: float32 (n, d), unit rows
    """
    if captions:
        chosen = np.random.default_rng(SEED).permutation(len(captions))[:QUERIES]
        return model.encode_text([captions[i] for i in chosen])
    return np.concatenate([vocabulary_vectors(model, code) for code in ("de", "tr")])[:QUERIES]


def _measure(
    catalog: Catalog, model: Model, asked: FloatArray, truth: Ids, texts: int, progress: Callable[[str], None]
) -> SizeRow:
    """One size; of what is asked, so many come first that are texts."""
    progress("building")
    start = time.perf_counter()
    built = CatalogNeighbours(catalog, asked.shape[1])
    built.maintain(partial(tuning_vectors, model))
    built.refresh()
    build_seconds = time.perf_counter() - start
    method = "exact search"
    if built.manifest is not None:
        efforts = built.manifest.bands.efforts
        method = "graph, ef_search / candidates: " + ", ".join(f"{one.ef_search} / {one.candidates}" for one in efforts)
    filters = _filters(catalog) if built.manifest is not None else {}
    few = np.concatenate([asked[:texts][:FILTERED_QUERIES], asked[texts:][:FILTERED_QUERIES]])
    progress("asking")
    with ProcessPoolExecutor(1, mp_context=get_context("spawn")) as apart:
        answers, resident = apart.submit(
            _asked, catalog.path, [(asked, None), *((few, allowed) for allowed in filters.values())], bool(filters)
        ).result()
    (found, seconds), *behind = answers
    filtered = [
        _filtered_row(
            name, len(allowed) / len(built), answer, _truth(catalog, few, allowed), min(texts, FILTERED_QUERIES)
        )
        for (name, allowed), answer in zip(filters.items(), behind, strict=True)
    ]
    stored = sum(file.stat().st_size for file in catalog.path.parent.rglob("p.bc.neighbours/**/*") if file.is_file())
    return SizeRow(
        len(built),
        method,
        build_seconds,
        *_recalls(found, truth, texts),
        *_milliseconds(seconds, texts),
        _brute_p50_ms(catalog, asked[:20]),
        resident,
        stored / 2**20,
        tuple(filtered),
    )


def _asked(
    path: Path, queries: Sequence[tuple[FloatArray, Ids | None]], has_graph: bool
) -> tuple[list[Answers], float]:
    """What queries find among the ids that are allowed, and the MiB that the open neighbours take after the first of
    them: in a process of its own.
    """
    catalog = made_catalog(path, queries[0][0].shape[1])
    before = resident_mebibytes()
    neighbours = CatalogNeighbours(catalog, queries[0][0].shape[1], exact_up_to=0 if has_graph else sys.maxsize)
    neighbours.refresh()

    def found(query: FloatArray, allowed: Ids | None) -> Ids:
        ids: Ids = neighbours.search(query, K, allowed=allowed)[0][0]
        return ids

    answers, resident = [], 0.0
    for asked, allowed in queries:
        answers.append(timed(partial(found, allowed=allowed), asked))
        resident = resident or resident_mebibytes() - before
    catalog.close()
    return answers, resident


def _filters(catalog: Catalog) -> dict[str, Ids]:
    """What filters let through, growing: photos at random, and, as a folder may, all like one photo or unlike it."""
    rng = np.random.default_rng(SEED)
    ids, cosines, one = [], [], None
    for some, vectors in catalog.vectors_since(0):
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
    text_recall, image_recall = _recalls(found, truth, texts)
    text_p50, _, image_p50 = _milliseconds(seconds, texts)
    return FilteredRow(name, share, text_recall, text_p50, image_recall, image_p50)


def _measure_autofaiss(
    catalog: Catalog, asked: FloatArray, truth: Ids, own: SizeRow, texts: int, python: Path, place: Path
) -> SizeRow:
    """The same size by the index that autofaiss chooses, in a process of its own."""
    folder = place / "autofaiss"
    (folder / "vectors").mkdir(parents=True)
    ids = []
    for i, (some, vectors) in enumerate(catalog.vectors_since(0)):
        np.save(folder / f"vectors/{i:06}.npy", unit_rows(vectors))
        ids.append(some)
    np.save(folder / "queries.npy", asked)
    told: dict[str, Any] = {}
    for step in ("build", "ask"):
        command = [str(python), autofaiss_choice.__file__, step, str(folder)]
        try:
            run = subprocess.run(command, capture_output=True, encoding="utf-8", check=False, timeout=LONGEST_SECONDS)
        except subprocess.TimeoutExpired:
            raise InputError(f"autofaiss could not {step} its index in {LONGEST_SECONDS} seconds") from None
        if run.returncode != 0:
            last = (run.stderr.strip().splitlines() or ["nothing was said"])[-1]
            raise InputError(f"{python} could not {step} autofaiss' index: {last}; autofaiss must be installed there")
        told |= json.loads(run.stdout.splitlines()[-1])
    rows, seconds = np.load(folder / FOUND), np.load(folder / SECONDS)
    found = np.where(rows >= 0, np.concatenate(ids)[rows], -1)
    text_recall, image_recall = _recalls(list(found), truth, texts)
    text_p50, text_p95, image_p50 = _milliseconds(seconds, texts)
    return replace(
        own,
        filtered=(),
        text_recall=text_recall,
        image_recall=image_recall,
        text_p50_ms=text_p50,
        text_p95_ms=text_p95,
        image_p50_ms=image_p50,
        **told,
    )


def _milliseconds(seconds: NDArray[np.float64], texts: int) -> tuple[float, float, float]:
    """The median and the 95th percentile of texts, and the median of images."""
    of_texts = 1000 * seconds[:texts]
    return float(np.median(of_texts)), float(np.quantile(of_texts, 0.95)), 1000 * float(np.median(seconds[texts:]))


def _recalls(found: Sequence[Ids], truth: Ids, texts: int) -> tuple[float, float]:
    """Recall@10 of texts and of images."""
    hits = np.array([len(np.intersect1d(a, b)) / K for a, b in zip(found, truth, strict=True)])
    return float(hits[:texts].mean()), float(hits[texts:].mean())


def _truth(catalog: Catalog, queries: FloatArray, allowed: Ids | None = None) -> Ids:
    """The ids that are nearest indeed, of all or of those that are allowed."""
    ids: list[Ids] = []

    def blocks() -> Iterator[NDArray[np.float16]]:
        for some, vectors in catalog.vectors_since(0):
            here = slice(None) if allowed is None else is_among(some, allowed)
            ids.append(some[here])
            yield unit_rows(vectors[here]).astype(np.float16)

    rows = ground_truth(queries, K, blocks())
    found: Ids = np.concatenate(ids)[rows]
    return found


def _brute_p50_ms(catalog: Catalog, queries: FloatArray) -> float:
    """The median of a matrix product with all vectors in float32, and sorting."""
    vectors = np.concatenate([block for _, block in catalog.vectors_since(0)])
    _, seconds = timed(lambda query: np.argsort(-(vectors @ query[0]))[:K], queries)
    return 1000 * float(np.median(seconds))


def as_markdown(rows: Sequence[SizeRow], *, source: str) -> str:
    """A page.

    :param rows: what was measured
    :param source: on what, and by which command
    :return: Markdown
    """
    lines = [
        "# Neighbour search",
        "",
        source,
        "",
        "| vectors | how | build | recall@10, texts | p50 | p95 | recall@10, images | p50 | brute force, p50 "
        "| resident | files |",
        "|---:|---|---:|---:|---:|---:|---:|---:|---:|---:|---:|",
    ]
    for row in rows:
        lines.append(
            f"| {row.vectors:,} | {row.method} | {row.build_seconds:.0f} s | {row.text_recall:.3f} | "
            f"{row.text_p50_ms:.2f} ms | {row.text_p95_ms:.2f} ms | {row.image_recall:.3f} | {row.image_p50_ms:.2f} ms "
            f"| {row.brute_p50_ms:.1f} ms | {row.resident_mib:.0f} MiB | {row.file_mib:.0f} MiB |"
        )
    return "\n".join([*lines, *_filtered_lines(rows)]) + "\n"


def _filtered_lines(rows: Sequence[SizeRow]) -> list[str]:
    """What was measured behind filters, as a second table."""
    lines = [
        f"| {row.vectors:,} | {one.let_through} | {one.share:.0%} | {one.text_recall:.3f} | {one.text_p50_ms:.1f} ms | "
        f"{one.image_recall:.3f} | {one.image_p50_ms:.1f} ms |"
        for row in rows
        for one in row.filtered
    ]
    head = [
        "",
        "## With a filter",
        "",
        f"The same, of {FILTERED_QUERIES} queries of each kind, with a filter.",
        "",
        "| vectors | allowed by the filter | share | recall@10, texts | p50 | recall@10, images | p50 |",
        "|---:|---|---:|---:|---:|---:|---:|",
    ]
    return [*head, *lines] if lines else []
