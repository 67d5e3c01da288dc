import subprocess
import sys
import threading
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import anyio
import numpy as np
import pytest

from babelclip.ann.hnsw import HnswGraph
from babelclip.ann.snapshot import Snapshot, SnapshotFiles
from babelclip.catalog.catalog import Catalog
from babelclip.catalog.records import ContentRecord, Photo
from babelclip.models.model import Model
from babelclip.search.index import Index
from babelclip.stores import graph_maintenance, sqlite_ann
from babelclip.vectors import FloatArray, unit_rows
from tests.helpers.serving import Running, running

pytestmark = pytest.mark.anyio

ROWS = 1500
TEXT = "a dog"
PATIENCE = 180.0
"""Seconds, also for a background thread that has to wait for a busy machine."""
BUILD = """
import sys
from babelclip.models.model import Model
from babelclip.search.index import Index
from babelclip.stores import graph_maintenance
graph_maintenance.EXACT_UP_TO = 1000
with Index.open(sys.argv[1], Model.load(text=sys.argv[2], image=sys.argv[3])) as index:
    index.prepare()
"""


@pytest.fixture
def file(tmp_path: Path, pair: Model, monkeypatch: pytest.MonkeyPatch) -> Path:
    """An index that is large enough for a graph and has none, as after ``scale load`` was interrupted."""
    monkeypatch.setattr(graph_maintenance, "EXACT_UP_TO", 1000)
    monkeypatch.setattr("babelclip.ann.hnsw.NODE_COST", 0)
    path = tmp_path / "photos.bc"
    save(path, pair, 0, ROWS)
    return path


def save(path: Path, model: Model, seed: int, count: int) -> FloatArray:
    vectors = unit_rows(np.random.default_rng(seed).standard_normal((count, model.dimension)).astype(np.float32))
    hashes = [f"{seed}-{i}".encode().ljust(32, b".") for i in range(count)]
    catalog = Catalog(path, model_name=model.name, fingerprint=model.fingerprint, dimension=model.dimension)
    catalog.save(
        [Photo(f"/p/{seed}-{i}.jpg", 1, 1, digest) for i, digest in enumerate(hashes)],
        [ContentRecord(digest, vector) for digest, vector in zip(hashes, vectors, strict=True)],
    )
    catalog.close()
    return vectors


async def hits(here: Running) -> list[str]:
    answer = await here.client.post("/v1/search", json={"query": TEXT, "k": 10})
    assert answer.status_code == 200, answer.text
    return [hit["path"] for hit in answer.json()["data"]]


async def until(condition: Callable[[], object], seconds: float) -> None:
    with anyio.fail_after(seconds):
        while not condition():
            await anyio.sleep(0.02)


class Builds:
    """Builds that stop before they finish, until they are released."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self.started, self.release = threading.Event(), threading.Event()
        self.threads: list[str] = []
        finish = HnswGraph.finish

        def waiting(graph: HnswGraph) -> None:
            self.threads.append(threading.current_thread().name)
            self.started.set()
            self.release.wait(60)
            finish(graph)

        monkeypatch.setattr(HnswGraph, "finish", waiting)


class Adoptions:
    """When snapshots were opened for searching."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self.times: list[float] = []

        def opened(files: SnapshotFiles) -> Snapshot:
            self.times.append(time.monotonic())
            return Snapshot(files)

        monkeypatch.setattr(sqlite_ann, "Snapshot", opened)


def exact_hits(file: Path, model: Model, monkeypatch: pytest.MonkeyPatch) -> list[str]:
    with monkeypatch.context() as patch:
        patch.setattr(graph_maintenance, "EXACT_UP_TO", 10**9)
        with Index.open(file, model) as index:
            return [hit.path for hit in index.search(TEXT, k=10)]


async def test_a_background_thread_builds_the_graph_while_searches_are_answered_exactly(
    pair: Model, file: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    exact = exact_hits(file, pair, monkeypatch)
    builds, adoptions = Builds(monkeypatch), Adoptions(monkeypatch)
    async with running(pair, indexes={"mine": file}) as here:
        await until(builds.started.is_set, PATIENCE)
        assert await hits(here) == exact
        new = save(file, pair, 1, 3)
        image_hits = await here.service.indexes.run(
            here.service.indexes.get("mine"), lambda index: index.nearest(new[1], 1)
        )
        assert image_hits[0].path == "/p/1-1.jpg"
        assert adoptions.times == []
        builds.release.set()
        await until(lambda: adoptions.times, PATIENCE)
        assert len(set(await hits(here)) & set(exact)) >= 9
    assert builds.threads == ["babelclip-maintenance"]


@pytest.mark.slow
async def test_a_service_adopts_within_a_second_what_another_process_has_built(
    pair: Model, file: Path, text_folder: Path, clip_folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    exact = exact_hits(file, pair, monkeypatch)
    adoptions = Adoptions(monkeypatch)
    monkeypatch.setattr(graph_maintenance.GraphMaintenance, "run", lambda *_: False)
    searched: list[object] = []
    search = HnswGraph.search

    def counted(graph: HnswGraph, *arguments: Any, **options: Any) -> Any:
        searched.append(graph)
        return search(graph, *arguments, **options)

    monkeypatch.setattr(HnswGraph, "search", counted)
    async with running(pair, indexes={"mine": file}) as here:
        assert await hits(here) == exact
        arguments = [str(path) for path in (file, text_folder, clip_folder)]
        built = await anyio.to_thread.run_sync(
            lambda: subprocess.run([sys.executable, "-c", BUILD, *arguments], check=True)
        )
        assert built.returncode == 0
        written = (file.with_name("photos.bc.neighbours") / "current.json").stat().st_mtime
        await until(lambda: adoptions.times, PATIENCE)
        assert adoptions.times[0] - time.monotonic() + time.time() - written < 1
        assert searched == []
        assert len(set(await hits(here)) & set(exact)) >= 9
        assert searched


async def test_closing_a_service_cancels_a_build(pair: Model, file: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    builds = Builds(monkeypatch)
    add = HnswGraph.add

    def slow(graph: HnswGraph, block: FloatArray) -> None:
        builds.started.set()
        builds.release.wait(60)
        add(graph, block)

    monkeypatch.setattr(HnswGraph, "add", slow)
    async with running(pair, indexes={"mine": file}):
        await until(builds.started.is_set, PATIENCE)
        threading.Timer(0.3, builds.release.set).start()
    folder = file.with_name("photos.bc.neighbours")
    assert [path.name for path in folder.iterdir()] == [graph_maintenance.LOCK]
    assert builds.threads == []


async def test_a_graph_that_cannot_be_written_is_reported_and_searches_go_on(
    pair: Model, file: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    exact = exact_hits(file, pair, monkeypatch)
    file.with_name("photos.bc.neighbours").write_text("a file where a folder belongs")
    async with running(pair, indexes={"mine": file}) as here:
        await until(lambda: "cannot be maintained" in caplog.text, PATIENCE)
        assert await hits(here) == exact
        await anyio.sleep(1.2)
    assert caplog.text.count("cannot be maintained") == 1
