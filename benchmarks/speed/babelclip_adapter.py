"""Babelclip itself, opened in this process or in a server's, by its public functions."""

import atexit
import shutil
import sys
import tempfile
from base64 import b64encode
from contextlib import ExitStack
from itertools import count
from pathlib import Path
from typing import Any

import numpy as np

from babelclip.benchmark.servers import ask_embeddings, running_server
from babelclip.catalog.catalog import Catalog
from babelclip.catalog.records import ContentRecord, Photo
from babelclip.errors import BabelclipError
from babelclip.models.model import Model
from babelclip.models.registry import DEFAULT
from babelclip.pipeline import chunks
from babelclip.runtimes import capabilities
from babelclip.search.index import Index
from babelclip.settings import settings
from babelclip.vectors import unit_rows
from benchmarks.speed.engines import MINI, SERVING_MINI, EngineAdapter
from benchmarks.speed.fixtures import Fixtures
from benchmarks.speed.work import HITS, Encoders, Work, encoding_work

PICTURES_A_REQUEST = 8


def load_babelclip(engine: EngineAdapter, fixtures: Fixtures) -> Model:
    """The babelclip model of an engine; nothing is compiled yet.

    :param engine: of the family babelclip
    :param fixtures: where the pair is
    :return: a Model
    :raises BabelclipError: if the processor lacks the precision, or the runtime is not installed
    """
    if engine.name == MINI:
        return Model.load(runtime=engine.runtime, precision="auto")
    if engine.precision == "bfloat16" and "BF16" not in capabilities(engine.runtime):
        raise BabelclipError("the processor has no bfloat16")
    if engine.precision == "int8":
        return Model.load(fixtures.pair, runtime=engine.runtime, precision="int8")
    precision: Any = engine.precision
    return Model.load(text=fixtures.text, image=fixtures.image, runtime=engine.runtime, precision=precision)


def open_babelclip(engine: EngineAdapter, task: str, fixtures: Fixtures) -> Work:
    """Load a model of babelclip and make a task of it ready.

    :param engine: of the family babelclip
    :param task: one of its tasks
    :param fixtures: what it works on
    :return: the task
    :raises BabelclipError: if the engine cannot be used
    """
    model = load_babelclip(engine, fixtures)
    if task == "search":
        path = _passing_folder() / "photos.bc"
        fill_index(path, model, fixtures.counts.photos)
        opened = Index.open(path, model)

        def find(query: list[str]) -> object:
            return opened.search(query[0], HITS)

        return Work(1, lambda i: fixtures.texts(i, 1), find)
    if task == "index":
        folder, numbers = _passing_folder(), count()

        def add(path: Path) -> object:
            with Index.open(path, model) as index:
                return index.add_folder(fixtures.files)

        files = fixtures.counts.files
        return Work(files, lambda _: folder / f"{next(numbers)}.bc", add)
    return encoding_work(Encoders(model.encode_text, model.encode_images, model.encode_images), task, fixtures)


def _passing_folder() -> Path:
    """A folder that goes when this process ends."""
    folder = tempfile.mkdtemp(prefix="babelclip-benchmark-")
    atexit.register(shutil.rmtree, folder, ignore_errors=True)
    return Path(folder)


def fill_index(path: Path, model: Model, photos: int) -> None:
    """Make an index of photos that are not there, with random vectors.

    :param path: the file to make
    :param model: the Model whose vectors they pass for
    :param photos: how many
    """
    rng = np.random.default_rng(0)
    vectors = unit_rows(rng.standard_normal((photos, model.dimension), dtype=np.float32))
    hashes = [i.to_bytes(32, "big") for i in range(photos)]
    catalog = Catalog(path, model_name=model.name, fingerprint=model.fingerprint, dimension=model.dimension)
    try:
        catalog.save(
            [Photo(f"/photos/{i:06}.jpg", 1, 1, digest) for i, digest in enumerate(hashes)],
            [ContentRecord(digest, vector) for digest, vector in zip(hashes, vectors, strict=True)],
        )
    finally:
        catalog.close()


def open_service(engine: EngineAdapter, fixtures: Fixtures) -> Work:
    """``babelclip serve`` in a process of its own, which encodes texts and pictures that requests bring.

    :param engine: of the family service
    :param fixtures: what it works on
    :return: the task "memory"
    :raises BabelclipError: if it does not start
    """
    home = _passing_folder()
    settings().compiled.mkdir(parents=True, exist_ok=True)
    (home / "compiled").symlink_to(settings().compiled, target_is_directory=True)
    model = DEFAULT if engine.name == SERVING_MINI else str(fixtures.pair)
    command = [sys.executable, "-m", "babelclip", "serve", "--model", model, "--port", "0", "--quiet"]
    running = ExitStack()
    atexit.register(running.close)
    process, url, key = running.enter_context(running_server(command, home))
    pictures = [
        {"image": "data:image/png;base64," + b64encode(path.read_bytes()).decode("ascii")}
        for path in fixtures.picture_paths()
    ]

    def serve(texts: list[str]) -> None:
        for words in (texts, texts[:1]):
            ask_embeddings(url, key, model, words)
        for images in chunks(pictures, PICTURES_A_REQUEST):
            ask_embeddings(url, key, model, images)

    rows = fixtures.counts.texts
    return Work(1, lambda i: fixtures.texts(i * rows, rows), serve, process=process.pid)
