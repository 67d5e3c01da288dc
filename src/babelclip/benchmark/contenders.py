"""Engines opened in this process, each with the calls that its own users would write."""

import atexit
import shutil
import tempfile
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from itertools import count
from pathlib import Path
from typing import Any

import numpy as np

from babelclip.benchmark.engines import MINI, Engine
from babelclip.benchmark.materials import REAL, Materials
from babelclip.errors import BabelclipError, InputError

BATCH_TEXTS, BATCH_PICTURES = 128, 32
"""What sentence-transformers is told to take at once."""
HITS = 10
TRIAL_RUNS = 3
MEBIBYTE_KIBIBYTES = 1024


@dataclass(frozen=True, slots=True)
class Work:
    """A task that is ready: ``run`` is timed, on what ``inputs`` gives for the number of the call.

    ``rows`` is how many texts, pictures or files a call does; ``flops`` its operations, where it knows them itself.
    """

    rows: int
    inputs: Callable[[int], Any]
    run: Callable[[Any], object]
    flops: int | None = None
    note: str = ""


@dataclass(frozen=True, slots=True)
class Encoders:
    """What an engine does: texts, pictures and paths of files to vectors, or to nothing it keeps."""

    texts: Callable[[list[str]], Any] | None = None
    pictures: Callable[[list[Any]], Any] | None = None
    paths: Callable[[list[Path]], Any] | None = None
    note: str = ""


def open_work(engine: Engine, task: str, materials: Materials) -> Work:
    """Load an engine and make a task of it ready.

    :param engine: the engine
    :param task: one of its tasks
    :param materials: what it works on
    :return: the task
    :raises BabelclipError: if the engine cannot be used
    :raises ImportError: if a package of it is not installed
    """
    if engine.family == "product":
        return _product(engine, small=materials.counts != REAL)
    if engine.family == "babelclip":
        return _babelclip(engine, task, materials)
    if task == "search":
        return _search_by_hand(materials)
    opened = {"sentence-transformers": _sentence_transformers, "fastembed": _fastembed, "open_clip": _open_clip}
    return _work(opened[engine.family](engine, task, materials), task, materials)


def _work(encoders: Encoders, task: str, materials: Materials) -> Work:
    """A task of any engine that is a call of one of its encoders."""
    counts = materials.counts
    texts, pictures, paths = encoders.texts, encoders.pictures, encoders.paths
    if task in ("text", "query") and texts is not None:
        rows = counts.texts if task == "text" else 1
        return Work(rows, lambda i: materials.texts(i * rows, rows), texts, note=encoders.note)
    if task in ("images", "tower") and pictures is not None:
        decoded = materials.pictures(square=task == "tower")
        return Work(len(decoded), lambda _: [picture.copy() for picture in decoded], pictures, note=encoders.note)
    if task == "files" and paths is not None:
        files = materials.file_paths()
        return Work(len(files), lambda _: files, paths, note=encoders.note)
    if task == "memory" and texts is not None and pictures is not None:
        decoded = materials.pictures()

        def serve(batch: list[str]) -> None:
            texts(batch)
            texts(batch[:1])
            pictures(decoded)

        return Work(1, lambda i: materials.texts(i * counts.texts, counts.texts), serve, note=encoders.note)
    raise InputError(f"the task {task} is not one of this engine")


def load_babelclip(engine: Engine, materials: Materials) -> Any:
    """The babelclip model of an engine; nothing is compiled yet.

    :param engine: of the family babelclip
    :param materials: where the pair is
    :return: a Model
    :raises BabelclipError: if the processor lacks the precision, or the runtime is not installed
    """
    from babelclip.model import Model
    from babelclip.runtimes import capabilities

    if engine.name == MINI:
        return Model.load(runtime=engine.runtime)
    if engine.precision == "bfloat16" and "BF16" not in capabilities(engine.runtime):
        raise BabelclipError("the processor has no bfloat16")
    if engine.precision == "int8":
        return Model.load(materials.pair, runtime=engine.runtime, precision="int8")
    precision: Any = engine.precision
    return Model.load(text=materials.text, image=materials.image, runtime=engine.runtime, precision=precision)


def _babelclip(engine: Engine, task: str, materials: Materials) -> Work:
    """Babelclip itself, by its public functions."""
    from babelclip.search import Index

    model = load_babelclip(engine, materials)
    if task == "search":
        path = _passing_folder() / "photos.bc"
        fill_index(path, model, materials.counts.photos)
        opened = Index.open(path, model)

        def find(query: list[str]) -> object:
            return opened.search(query[0], HITS)

        return Work(1, lambda i: materials.texts(i, 1), find)
    if task == "index":
        folder, numbers = _passing_folder(), count()

        def add(path: Path) -> object:
            with Index.open(path, model) as index:
                return index.add_folder(materials.files)

        files = materials.counts.files
        return Work(files, lambda _: folder / f"{next(numbers)}.bc", add)
    return _work(Encoders(model.encode_text, model.encode_images, model.encode_images), task, materials)


def _passing_folder() -> Path:
    """A folder that goes when this process ends."""
    folder = tempfile.mkdtemp(prefix="babelclip-benchmark-")
    atexit.register(shutil.rmtree, folder, ignore_errors=True)
    return Path(folder)


def fill_index(path: Path, model: Any, photos: int) -> None:
    """Make an index of photos that are not there, with random vectors.

    :param path: the file to make
    :param model: the Model whose vectors they pass for
    :param photos: how many
    """
    from babelclip.catalog import Catalog, Content, Photo
    from babelclip.vectors import unit_rows

    rng = np.random.default_rng(0)
    vectors = unit_rows(rng.standard_normal((photos, model.dimension), dtype=np.float32))
    hashes = [i.to_bytes(32, "big") for i in range(photos)]
    catalog = Catalog(path, model_name=model.name, fingerprint=model.fingerprint, dimension=model.dimension)
    try:
        catalog.save(
            [Photo(f"/photos/{i:06}.jpg", 1, 1, digest) for i, digest in enumerate(hashes)],
            [Content(digest, vector) for digest, vector in zip(hashes, vectors, strict=True)],
        )
    finally:
        catalog.close()


def _sentence_transformers(engine: Engine, task: str, materials: Materials) -> Encoders:
    """SentenceTransformer.encode, as its documentation shows it."""
    from PIL import Image
    from sentence_transformers import SentenceTransformer

    def load(folder: Path, backend: Any) -> Any:
        return SentenceTransformer(str(folder), device="cpu", local_files_only=True, backend=backend)

    def encode(model: Any, items: list[Any], batch: int) -> object:
        return model.encode(items, batch_size=batch, normalize_embeddings=True, show_progress_bar=False)

    texts = pictures = paths = None
    if task in ("text", "query", "search", "memory"):
        backend = {"onnxruntime": "onnx"}.get(engine.runtime, engine.runtime)
        folder = materials.text
        if backend == "onnx":
            folder = materials.exported
            if not folder.is_dir():
                load(materials.text, backend).save(str(folder))
        text_model = load(folder, backend)

        def texts(items: list[str]) -> object:
            return encode(text_model, items, BATCH_TEXTS)

    if task in ("images", "tower", "files", "memory"):
        image_model = load(materials.image, "torch")

        def pictures(items: list[Any]) -> object:
            return encode(image_model, items, BATCH_PICTURES)

        def paths(items: list[Path]) -> object:
            return encode(image_model, [Image.open(path) for path in items], BATCH_PICTURES)

    return Encoders(texts, pictures, paths)


def _search_by_hand(materials: Materials) -> Work:
    """What users of sentence-transformers write: encode, then util.semantic_search over a tensor of vectors."""
    import torch
    from sentence_transformers import SentenceTransformer, util

    model = SentenceTransformer(str(materials.text), device="cpu", local_files_only=True)
    torch.manual_seed(0)
    size = len(model.encode("", show_progress_bar=False))
    corpus = torch.nn.functional.normalize(torch.randn(materials.counts.photos, size))

    def find(query: list[str]) -> object:
        vector = model.encode(query, convert_to_tensor=True, show_progress_bar=False)
        return util.semantic_search(vector, corpus, top_k=HITS)

    return Work(1, lambda i: materials.texts(i, 1), find)


def _fastembed(engine: Engine, task: str, materials: Materials) -> Encoders:
    """Fastembed on the graph that sentence-transformers exported."""
    from fastembed import TextEmbedding
    from fastembed.common.model_description import ModelSource, PoolingType

    graph = "onnx/model.onnx"
    if not (materials.exported / graph).is_file():
        raise InputError("it needs the graph that sentence-transformers-onnx exports; measure that first")
    TextEmbedding.add_custom_model(
        model="benchmark/text",
        pooling=PoolingType.MEAN,
        normalization=True,
        sources=ModelSource(url="file:///nowhere"),
        dim=int(materials.facts["width"]),
        model_file=graph,
    )
    model = TextEmbedding("benchmark/text", specific_model_path=str(materials.exported))

    def texts(items: list[str]) -> object:
        return list(model.embed(items, batch_size=BATCH_TEXTS))

    return Encoders(texts, note="without the Dense layer, which fastembed does not have")


def _open_clip(engine: Engine, task: str, materials: Materials) -> Encoders:
    """open_clip's ViT-B/32 with its own preprocessing."""
    import open_clip
    import torch
    from PIL import Image

    if materials.counts != REAL:
        raise InputError("it has a ViT-B/32 only, not the tiny model")
    model, _, prepare = open_clip.create_model_and_transforms("ViT-B-32-quickgelu", pretrained=None)
    model.eval()

    @torch.inference_mode()
    def pictures(items: list[Any]) -> object:
        return model.encode_image(torch.stack([prepare(item) for item in items]), normalize=True).numpy()

    def paths(items: list[Path]) -> object:
        return pictures([Image.open(path) for path in items])

    return Encoders(None, pictures, paths, note="random weights of its own, of the same shape")


def _product(engine: Engine, *, small: bool) -> Work:
    """The matrix product that reaches most, of several sizes."""
    import time

    from babelclip.benchmark.products import SHAPES, SMALL_SHAPES, product_flops, product_graph
    from babelclip.runtimes import capabilities, load_runtime

    if engine.precision == "bfloat16" and "BF16" not in capabilities(engine.runtime):
        raise BabelclipError("the processor has no bfloat16")
    int8 = engine.precision == "int8"
    rest: Any = "float32" if int8 else engine.precision
    best: tuple[float, Work] | None = None
    for rows, inner, outer in SMALL_SHAPES if small else SHAPES:
        graph = product_graph(rows, inner, outer, int8=int8)
        session = load_runtime(engine.runtime).compile(graph, precision=rest, threads=0)
        x = np.random.default_rng(1).standard_normal((rows, inner), dtype=np.float32)
        session.run({"x": x})
        start = time.perf_counter()
        for _ in range(TRIAL_RUNS):
            session.run({"x": x})
        seconds = (time.perf_counter() - start) / TRIAL_RUNS
        flops = product_flops(rows, inner, outer)
        if best is None or flops / seconds > best[0]:
            inputs = partial(_same, {"x": x})
            best = flops / seconds, Work(1, inputs, session.run, flops, f"{rows} x {inner} x {outer}")
    if best is None:
        raise InputError("no size of matrix was tried")
    return best[1]


def _same(inputs: Any, call: int) -> Any:
    """The same inputs for every call."""
    return inputs


def resident_mebibytes() -> float:
    """How much memory of this process is resident, as the system counts it.

    :return: MiB
    :raises InputError: if the system does not say
    """
    try:
        lines = Path("/proc/self/status").read_text(encoding="ascii").splitlines()
    except OSError:
        raise InputError("resident memory can be read on Linux alone") from None
    (line,) = [line for line in lines if line.startswith("VmRSS:")]
    return int(line.split()[1]) / MEBIBYTE_KIBIBYTES
