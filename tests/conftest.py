"""Fixtures: a home of its own for every test, and tiny models saved by the reference libraries."""

import importlib
import os
import secrets
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image
from sqlalchemy import Engine, create_engine, make_url, text

from babelclip.benchmark.samples import ALL
from babelclip.catalog.catalog import Catalog
from babelclip.models.model import Model
from babelclip.service.metering.tables import open_database
from babelclip.settings import settings
from tests.helpers import rings, tiny_models
from tests.helpers.updating import Update, opened

ALPHABETS = {"en": "abcdefgh", "de": "ijklmnop", "xx": "qrstuvwx"}
"""The letters of three made languages, word for word translations of each other."""
WORDS = 40

LEFT_OUT = pytest.StashKey[set[str]]()
POSTGRES = os.environ.get("BABELCLIP_TEST_POSTGRES", "")
REDIS = os.environ.get("BABELCLIP_TEST_REDIS", "")
SHARED = Path(__file__).parents[2] / "shared" / "data"


def pytest_addoption(parser: pytest.Parser) -> None:
    """``--rewrite-goldens`` writes down what tests/end_to_end/test_goldens.py compares with; ``--quick``: see rings."""
    parser.addoption("--rewrite-goldens", action="store_true", help="write the golden files instead of comparing")
    parser.addoption("--quick", action="store_true", help="only the tests without torch, servers and a browser")


def pytest_configure(config: pytest.Config) -> None:
    """Select the quick ring and keep torch out of it."""
    if config.getoption("--quick"):
        config.option.markexpr = " and ".join(f"not {ring}" for ring in rings.RINGS)
        sys.meta_path.insert(0, rings.TorchBlocker())


def pytest_ignore_collect(collection_path: Path, config: pytest.Config) -> bool | None:
    """Leave out of the quick ring the modules that import torch, or a package that is not installed, at their top."""
    if config.getoption("--quick") and collection_path.name.startswith("test_") and collection_path.suffix == ".py":
        missing = rings.missing_imports(collection_path)
        config.stash.setdefault(LEFT_OUT, set()).update(missing)
        return True if missing or rings.torch_imports(collection_path)[0] else None
    return None


def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter, config: pytest.Config) -> None:
    """Name the packages without which modules were left out."""
    if missing := config.stash.get(LEFT_OUT, set()):
        terminalreporter.write_line(f"left out: modules that import {', '.join(sorted(missing))}, not installed here")


@pytest.hookimpl(tryfirst=True)
def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Mark every test with its rings, before they are selected."""
    for item in items:
        rings.add_markers(item)


@pytest.fixture(autouse=True)
def home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """A data folder of its own, so that no test sees what another or the user left."""
    folder = tmp_path / "home"
    monkeypatch.setenv("BABELCLIP_HOME", str(folder))
    settings.cache_clear()
    yield folder
    settings.cache_clear()


@pytest.fixture(scope="session")
def anyio_backend() -> str:
    """Asynchronous tests run on asyncio."""
    return "asyncio"


@pytest.fixture(params=["sqlite", "postgresql"])
def database_url(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[str]:
    """A database of its own, on each kind; scripts/test starts the PostgreSQL."""
    if request.param == "sqlite":
        yield f"sqlite:///{tmp_path / 'service.db'}"
        return
    if not POSTGRES:
        pytest.skip("there is no PostgreSQL: scripts/test starts one (BABELCLIP_TEST_POSTGRES)")
    name = f"test_{secrets.token_hex(6)}"
    server = create_engine(POSTGRES, isolation_level="AUTOCOMMIT")
    with server.connect() as connection:
        connection.execute(text(f"CREATE DATABASE {name}"))
    yield make_url(POSTGRES).set(database=name).render_as_string(hide_password=False)
    with server.connect() as connection:
        connection.execute(text(f"DROP DATABASE {name} WITH (FORCE)"))
    server.dispose()


@pytest.fixture
def open_again(database_url: str) -> Iterator[Callable[[], Engine]]:
    """Opens that database, each time anew, and closes it after the test."""
    opened: list[Engine] = []

    def open_one() -> Engine:
        opened.append(open_database(database_url))
        return opened[-1]

    yield open_one
    for engine in opened:
        engine.dispose()


@pytest.fixture(params=["memory", "redis"])
def limits_url(request: pytest.FixtureRequest) -> str:
    """A store of rate limits, of each kind; scripts/test starts the Redis. Keys are random, so tests do not meet."""
    if request.param == "memory":
        return "memory://"
    if not REDIS:
        pytest.skip("there is no Redis: scripts/test starts one (BABELCLIP_TEST_REDIS)")
    return REDIS


@pytest.fixture(scope="session")
def shared() -> Path:
    """The evaluation data, where it is there."""
    if not SHARED.is_dir():
        pytest.skip("the evaluation data (../shared/data) is not here")
    return SHARED


@pytest.fixture(scope="session")
def clip_folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A tiny CLIP pair in the layout of transformers, written without torch."""
    folder = tmp_path_factory.mktemp("clip") / "clip"
    tiny_models.save_clip(folder, ALL)
    return folder


@pytest.fixture(scope="session")
def text_folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A tiny DistilBERT text tower in the layout of sentence-transformers, written without torch."""
    folder = tmp_path_factory.mktemp("text") / "text"
    tiny_models.save_text(folder, ALL, seed=3)
    return folder


@pytest.fixture(scope="session")
def reference() -> Any:
    """The module that saves and runs models with the reference libraries; marks a test ``torch``."""
    return importlib.import_module("tests.helpers.reference_models")


@pytest.fixture(scope="session")
def parity() -> Any:
    """The module that compares with them; marks a test ``torch``."""
    return importlib.import_module("babelclip.benchmark.parity")


@pytest.fixture(scope="session")
def published_parity() -> Any:
    """The module that compares every published form; marks a test ``torch``."""
    return importlib.import_module("benchmarks.parity")


@pytest.fixture(scope="session")
def reference_clip_folder(tmp_path_factory: pytest.TempPathFactory, reference: Any) -> Path:
    """A tiny CLIP pair as transformers saves it."""
    folder = tmp_path_factory.mktemp("reference") / "clip"
    reference.save_clip_model(folder, ALL)
    return folder


@pytest.fixture(scope="session")
def reference_text_folder(tmp_path_factory: pytest.TempPathFactory, reference: Any) -> Path:
    """A tiny DistilBERT text tower as sentence-transformers saves it today."""
    folder = tmp_path_factory.mktemp("reference") / "text"
    reference.save_text_model(folder, ALL)
    return folder


@pytest.fixture(scope="session")
def pair(clip_folder: Path, text_folder: Path) -> Model:
    """Both towers, of the same dimension."""
    return Model.load(text=text_folder, image=clip_folder)


@pytest.fixture
def photos(tmp_path: Path) -> Path:
    """A folder of five different photos in two folders."""
    rng = np.random.default_rng(1)
    folder = tmp_path / "photos"
    (folder / "inner").mkdir(parents=True)
    for i, name in enumerate(("a.jpg", "b.png", "c.webp", "inner/d.jpeg", "inner/e.gif")):
        coarse = rng.integers(0, 256, (4, 5, 3), dtype=np.uint8)
        Image.fromarray(coarse).resize((90 + i, 70)).save(folder / name)
    return folder


@pytest.fixture
def catalog(tmp_path: Path, pair: Model) -> Iterator[Catalog]:
    """An empty index file for the tiny pair."""
    catalog = opened(tmp_path / "p.bc", pair)
    yield catalog
    catalog.close()


@pytest.fixture
def update(catalog: Catalog, pair: Model, photos: Path) -> Update:
    """Brings that file up to date with ``photos``."""
    return Update(catalog, pair, photos)
