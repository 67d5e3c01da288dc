"""How fast and how well neighbours are found: the graph against comparing with all, at several sizes.

The vectors are made from a sample of image vectors, so that their spectrum, their local dimension and the distance
between texts and images are kept: a made vector is one of the sample, moved in the span of its nearest ones and by a
little noise of the sample's covariance. The sample is of pictures that are there, or of drawn ones (shapes in colours).
"""

import json
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ProcessPoolExecutor
from dataclasses import dataclass, replace
from multiprocessing import get_context
from pathlib import Path
from typing import Any

import faiss as typed_faiss
import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageDraw

from babelclip import confidence
from babelclip.benchmark import autofaiss_choice
from babelclip.benchmark.autofaiss_choice import FOUND, SECONDS, K, timed
from babelclip.benchmark.machine import resident_mebibytes
from babelclip.catalog import Catalog, Content, Photo
from babelclip.catalog_neighbours import CatalogNeighbours
from babelclip.errors import InputError
from babelclip.model import Model
from babelclip.neighbours import Ids
from babelclip.proximity_graph import exact_nearest
from babelclip.search import text_queries
from babelclip.vectors import FloatArray, unit_rows

# Its stubs tell of C++, not of the Python layer above it.
faiss: Any = typed_faiss

NEAREST = 12
"""Vectors of the sample in whose span a made one moves."""
MOVE, NOISE = 1.0, 0.1
"""How far it moves, as a share of its distance to them; and the share of the covariance that is added."""
BLOCK = 20_000
DRAWN = 400
DRAWN_PIXELS = 96
QUERIES = 300
LONGEST_SECONDS = 600
"""What the build bar gives an index; autofaiss gets no more."""
SEED = 11


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


def made_vectors(sample: FloatArray, count: int, seed: int = SEED) -> Iterator[FloatArray]:
    """Vectors such as those of a sample, in blocks.

    :param sample: float32 (n, d), unit rows, n over NEAREST
    :param count: how many
    :param seed: of the random numbers
    :yield: float32 (up to BLOCK, d), unit rows
    """
    rng = np.random.default_rng(seed)
    _, near = nearest_in(sample)
    _, widths, directions = np.linalg.svd(sample - sample.mean(axis=0), full_matrices=False)
    covariance = (directions * widths[:, None] / np.sqrt(len(sample))).astype(np.float32)
    for start in range(0, count, BLOCK):
        rows = min(BLOCK, count - start)
        chosen = rng.integers(0, len(sample), rows)
        steps = rng.standard_normal((rows, NEAREST)).astype(np.float32) * np.float32(MOVE / np.sqrt(NEAREST))
        made = sample[chosen] * (1 - steps.sum(axis=1, keepdims=True))
        for j in range(NEAREST):
            made += steps[:, j : j + 1] * sample[near[chosen, j]]
        noise = rng.standard_normal((rows, len(covariance))).astype(np.float32) @ covariance
        yield unit_rows(made + np.float32(np.sqrt(NOISE)) * noise)


def nearest_in(sample: FloatArray) -> tuple[FloatArray, Ids]:
    """The nearest others of every row.

    :param sample: float32 (n, d), unit rows
    :return: float32 (n, NEAREST) cosines and int64 rows
    """
    index = faiss.IndexFlatIP(sample.shape[1])
    index.add(sample)
    scores, rows = index.search(sample, NEAREST + 1)
    return scores[:, 1:], rows[:, 1:]


def drawn_pictures(count: int = DRAWN, seed: int = SEED) -> Iterator[Image.Image]:
    """Pictures of shapes in colours, for where there are no photos.

    :param count: how many
    :param seed: of the random numbers
    :yield: RGB pictures
    """
    rng = np.random.default_rng(seed)
    for _ in range(count):
        ground = rng.integers(0, 256, (rng.integers(1, 6), rng.integers(1, 6), 3), dtype=np.uint8)
        picture = Image.fromarray(ground).resize(
            (DRAWN_PIXELS, DRAWN_PIXELS), Image.Resampling(int(rng.integers(0, 4)))
        )
        pen = ImageDraw.Draw(picture)
        for _ in range(rng.integers(1, 8)):
            x, y = sorted(rng.integers(0, DRAWN_PIXELS, 2).tolist()), sorted(rng.integers(0, DRAWN_PIXELS, 2).tolist())
            _draw(
                pen, int(rng.integers(0, 3)), (x[0], y[0], x[1] + 1, y[1] + 1), tuple(rng.integers(0, 256, 3).tolist())
            )
        yield picture


def _draw(pen: ImageDraw.ImageDraw, shape: int, box: tuple[int, int, int, int], colour: tuple[int, ...]) -> None:
    """One shape."""
    if shape == 0:
        pen.ellipse(box, fill=colour)
    elif shape == 1:
        pen.rectangle(box, fill=colour)
    else:
        pen.line(box, fill=colour, width=4)


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
    return np.concatenate([confidence.word_vectors(model, code) for code in ("de", "tr")])[:QUERIES]


def made_catalog(path: Path, dimension: int) -> Catalog:
    """A catalog for vectors that no model made.

    :param path: of its file
    :param dimension: of the vectors
    :return: the catalog
    """
    return Catalog(path, model_name="made", fingerprint="0" * 64, dimension=dimension)


def fill(catalog: Catalog, blocks: Iterator[FloatArray]) -> None:
    """Save vectors as contents of photos that do not exist.

    :param catalog: an empty catalog
    :param blocks: float32 (n, d), unit rows
    """
    start = 0
    for block in blocks:
        names = [i.to_bytes(32, "big") for i in range(start, start + len(block))]
        catalog.save(
            [Photo(f"/made/{start + i}.jpg", 1, 1, name) for i, name in enumerate(names)],
            [Content(name, row) for name, row in zip(names, block, strict=True)],
        )
        start += len(block)


def _measure(
    catalog: Catalog, model: Model, asked: FloatArray, truth: Ids, texts: int, progress: Callable[[str], None]
) -> SizeRow:
    """One size; of what is asked, so many come first that are texts."""
    progress("building")
    start = time.perf_counter()
    built = CatalogNeighbours(catalog, asked.shape[1], lambda: text_queries(model))
    built.follow()
    build_seconds = time.perf_counter() - start
    method = "comparing with all"
    if built.files is not None:
        efforts = built.files.generation.efforts
        method = "graph, open / candidates: " + ", ".join(
            f"{effort.breadth} / {effort.candidates} {kind}"
            for kind, effort in (("far", efforts.far), ("near", efforts.near))
        )
    progress("asking")
    with ProcessPoolExecutor(1, mp_context=get_context("spawn")) as apart:
        found, seconds, resident = apart.submit(_asked, catalog.path, asked, built.files is not None).result()
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
    )


def _asked(path: Path, asked: FloatArray, has_graph: bool) -> tuple[list[Ids], NDArray[np.float64], float]:
    """What is found, the seconds of each query, and the MiB that the open neighbours take: in a process of its own."""
    catalog = made_catalog(path, asked.shape[1])
    before = resident_mebibytes()
    neighbours = CatalogNeighbours(catalog, asked.shape[1], tuple, exact_up_to=0 if has_graph else sys.maxsize)
    neighbours.follow()
    found, seconds = timed(lambda query: neighbours.search(query, K)[0][0], asked)
    resident = resident_mebibytes() - before
    catalog.close()
    return found, seconds, resident


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


def _truth(catalog: Catalog, queries: FloatArray) -> Ids:
    """The ids that are nearest indeed."""
    ids: list[Ids] = []

    def blocks() -> Iterator[NDArray[np.float16]]:
        for some, vectors in catalog.vectors_since(0):
            ids.append(some)
            yield unit_rows(vectors).astype(np.float16)

    rows = exact_nearest(queries, K, blocks())
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
        "# Finding neighbours",
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
    return "\n".join(lines) + "\n"
