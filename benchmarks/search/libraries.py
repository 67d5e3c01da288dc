"""Compare libraries for nearest neighbours on the same vectors, in one run, in rounds of all of them."""

import inspect
import tempfile
import time
from collections.abc import Mapping, Sequence
from concurrent.futures import ProcessPoolExecutor
from dataclasses import dataclass, replace
from functools import partial
from importlib import metadata
from multiprocessing import get_context
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

import babelclip
from babelclip.ann.exact import Ids
from babelclip.ann.hnsw import ground_truth
from babelclip.benchmark.machine import resident_mebibytes
from babelclip.benchmark.rounds import Measurement, spread
from babelclip.benchmark.search import FILTERED_QUERIES, QUERIES, K, recalls, text_sample, timed
from babelclip.benchmark.synthetic_vectors import SEED, made_vectors
from babelclip.models.model import Model
from babelclip.pipeline import LogCallback
from babelclip.search.tuning_queries import tuning_vectors
from babelclip.vectors import FloatArray
from benchmarks.search.adapters import ADAPTERS, EFFORTS, VECTORS, Babelclip, IndexAdapter

ADDED = 1000
ALLOWED_SHARE = 0.1
OURS_ALONE = ("hnsw.py", "hnsw_links.py", "hnsw_memory.py", "effort_tuning.py")
"""Modules of ``ann`` that another library would replace; the others serve any library."""
Milliseconds = NDArray[np.float64]
"""Of each query of a round."""
PACKAGES = ("faiss-cpu", "usearch", "hnswlib", "numpy")


@dataclass(frozen=True, slots=True)
class LibraryRow:
    """What was measured of one library: recall@K in 0..1, milliseconds of a query on one thread, seconds, MiB, lines.

    ``text_ratio`` is its text p50 divided by that of ours in the same round. Filtered figures are of a random tenth.
    """

    name: str
    ef_search: int | None
    build_seconds: float
    text_recall: float
    text_p50_ms: Measurement
    text_p95_ms: Measurement
    text_ratio: Measurement
    image_recall: float
    image_p50_ms: Measurement
    image_p95_ms: Measurement
    filtered_recall: float
    filtered_p50_ms: float
    add_seconds: float
    resident_mib: float
    file_mib: float
    lines: int


@dataclass(frozen=True, slots=True)
class _Built:
    """A library with its index, the seconds of the build and the MiB of its files."""

    adapter: IndexAdapter
    seconds: float
    file_mib: float


@dataclass(frozen=True, slots=True)
class _Data:
    """Queries, float32 (n, d), of which the first ``texts`` are texts, with true rows; the same of filtered ones."""

    queries: FloatArray
    texts: int
    truth: Ids
    few: FloatArray
    allowed: Ids
    few_truth: Ids


def compare_libraries(
    model: Model,
    sample: FloatArray,
    size: int,
    *,
    captions: Sequence[str] = (),
    folder: Path | None = None,
    rounds: int = 3,
    say: LogCallback = lambda label: None,
    left_out: LogCallback = lambda reason: None,
) -> list[LibraryRow]:
    """Measure every library that is installed.

    :param model: encodes the text queries
    :param sample: float32 (n, d), image vectors, unit rows, that the vectors are modelled on
    :param size: number of vectors
    :param captions: text queries; without any, everyday words
    :param folder: where the indexes are made; None takes a temporary folder
    :param rounds: number of rounds of the timed searches
    :param say: receives a label for each step
    :param left_out: receives which library is not installed
    :return: a row per library, ours first
    """
    with tempfile.TemporaryDirectory(dir=folder) as place:
        root = Path(place)
        say(f"making {size} vectors")
        vectors = np.concatenate([rows.astype(np.float16) for rows in made_vectors(sample, size)])
        np.save(root / VECTORS, vectors)
        data = _data(model, sample, vectors, captions)
        tuning = tuning_vectors(model)
        built: dict[str, _Built] = {}
        for name, adapter in ADAPTERS.items():
            say(f"building {name}")
            before = _stored(root)
            opened, start = adapter(root), time.perf_counter()
            try:
                opened.build(tuning)
            except ImportError as error:
                left_out(f"{name}: {error}")
                continue
            built[name] = _Built(opened, time.perf_counter() - start, _stored(root) - before)
        return _measure(built, data, sample, rounds, say)


def _data(model: Model, sample: FloatArray, vectors: NDArray[np.float16], captions: Sequence[str]) -> _Data:
    """Prepare the queries and their true rows."""
    texts = text_sample(model, captions)
    queries = np.concatenate([texts, *made_vectors(sample, QUERIES, seed=SEED + 1)])
    allowed = np.flatnonzero(np.random.default_rng(SEED).random(len(vectors)) < ALLOWED_SHARE)
    few = np.concatenate([texts[:FILTERED_QUERIES], queries[len(texts) :][:FILTERED_QUERIES]])
    truth, few_truth = ground_truth(queries, K, [vectors]), allowed[ground_truth(few, K, [vectors[allowed]])]
    return _Data(queries, len(texts), truth, few, allowed, few_truth)


def _measure(
    built: Mapping[str, _Built], data: _Data, sample: FloatArray, rounds: int, say: LogCallback
) -> list[LibraryRow]:
    """Choose the effort of each library, then time all of them in rounds, then filter and add."""
    recall: dict[str, tuple[float, float]] = {}
    resident: dict[str, float] = {}
    for name, library in built.items():
        say(f"choosing the effort of {name}")
        adapter = library.adapter
        with ProcessPoolExecutor(1, mp_context=get_context("spawn")) as process:
            resident[name] = process.submit(_resident, type(adapter), adapter.folder, data.queries[:100]).result()
        adapter.open()
        target = recall[Babelclip.name][0] if recall else 0.0
        recall[name] = _choose_effort(adapter, data, target)
    times: dict[str, list[Milliseconds]] = {name: [] for name in built}
    for number in range(1, rounds + 1):
        for name, library in built.items():
            say(f"round {number} of {rounds}: {name}")
            times[name].append(1000 * timed(library.adapter.search, data.queries)[1])
    ours = [float(np.median(part[: data.texts])) for part in times[Babelclip.name]]
    added = np.concatenate(list(made_vectors(sample, ADDED, seed=SEED + 2)))
    rows = []
    for name, library in built.items():
        say(f"filters and additions: {name}")
        row = _row(name, library, data, added, ours, times[name])
        found = recall[name]
        rows.append(replace(row, text_recall=found[0], image_recall=found[1], resident_mib=resident[name]))
    return rows


def _choose_effort(adapter: IndexAdapter, data: _Data, target: float) -> tuple[float, float]:
    """Set the first ef_search that reaches a text recall, or the last; return the recall of texts and images."""
    found = (0.0, 0.0)
    for adapter.ef_search in EFFORTS:
        found = recalls([adapter.search(query[None]) for query in data.queries], data.truth, data.texts)
        if isinstance(adapter, Babelclip) or found[0] >= target:
            break
    return found


def _row(
    name: str, library: _Built, data: _Data, added: FloatArray, ours: Sequence[float], times: Sequence[Milliseconds]
) -> LibraryRow:
    """Filter and add with one library, and summarize its rounds; recall and resident memory are filled in later."""
    adapter = library.adapter
    answers, filtered = timed(partial(adapter.search, allowed=data.allowed), data.few)
    start = time.perf_counter()
    adapter.add(added)
    add_seconds = time.perf_counter() - start
    adapter.close()
    texts, images = [part[: data.texts] for part in times], [part[data.texts :] for part in times]
    return LibraryRow(
        name=name,
        ef_search=None if isinstance(adapter, Babelclip) else adapter.ef_search,
        build_seconds=library.seconds,
        text_recall=0.0,
        text_p50_ms=_quantile(texts, 0.5),
        text_p95_ms=_quantile(texts, 0.95),
        text_ratio=spread(float(np.median(part)) / own for part, own in zip(texts, ours, strict=True)),
        image_recall=0.0,
        image_p50_ms=_quantile(images, 0.5),
        image_p95_ms=_quantile(images, 0.95),
        filtered_recall=sum(recalls(answers, data.few_truth, len(data.few) // 2)) / 2,
        filtered_p50_ms=1000 * float(np.median(filtered)),
        add_seconds=add_seconds,
        resident_mib=0.0,
        file_mib=library.file_mib,
        lines=lines_of(type(adapter)),
    )


def _quantile(rounds: Sequence[Milliseconds], part: float) -> Measurement:
    """Summarize a quantile of each round."""
    return spread(float(np.quantile(times, part)) for times in rounds)


def _resident(adapter: type[IndexAdapter], folder: Path, queries: FloatArray) -> float:
    """Return the MiB that an open index adds to a process, after some searches."""
    before = resident_mebibytes()
    opened = adapter(folder)
    opened.open()
    for query in queries:
        opened.search(query[None])
    return resident_mebibytes() - before


def _stored(folder: Path) -> float:
    """Return the MiB of the files in a folder."""
    return sum(file.stat().st_size for file in folder.rglob("*") if file.is_file()) / 2**20


def lines_of(adapter: type[IndexAdapter]) -> int:
    """Count the lines of code that a library needs here, beyond what serves any library.

    :param adapter: the adapter
    :return: lines of the graph modules for ours, of the adapter and its bases for others
    """
    if adapter is Babelclip:
        folder = Path(babelclip.__file__).parent / "ann"
        return sum(len((folder / name).read_text(encoding="utf-8").splitlines()) for name in OURS_ALONE)
    classes = [one for one in adapter.__mro__ if issubclass(one, IndexAdapter) and one is not IndexAdapter]
    return sum(len(inspect.getsource(one).splitlines()) for one in classes)


def versions() -> str:
    """Name the versions of the libraries.

    :return: such as "usearch 2.0, numpy 2.0"
    """
    known = []
    for name in PACKAGES:
        try:
            known.append(f"{name} {metadata.version(name)}")
        except metadata.PackageNotFoundError:
            continue
    return ", ".join(known)
