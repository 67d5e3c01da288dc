import sqlite3
import threading
from contextlib import closing

import numpy as np
import pytest

from babelclip.catalog.catalog import Catalog
from babelclip.stores import graph_maintenance
from babelclip.stores.graph_maintenance import LOCK, GraphMaintenance, snapshot_folder
from tests.helpers.clustered import DIMENSION, fill
from tests.helpers.neighbours import NEVER, maintained, reader, recall, texts


def folders(catalog: Catalog) -> int:
    return sum(path.is_dir() for path in snapshot_folder(catalog.vectors).iterdir())


def test_nothing_is_done_where_nothing_is_due(catalog: Catalog) -> None:
    fill(catalog, 0, 1000)
    maintenance = GraphMaintenance(catalog.vectors, DIMENSION, exact_up_to=1000)
    assert not maintenance.run(texts)
    assert not snapshot_folder(catalog.vectors).exists()
    fill(catalog, 1, 1)
    assert maintenance.run(texts)
    assert not maintenance.run(texts)


@pytest.mark.slow
def test_enough_new_vectors_make_the_graph_grow_and_enough_removals_rebuild_it(
    catalog: Catalog, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(graph_maintenance, "MIN_RECENT", 100)
    fill(catalog, 0, 2000)
    maintained(catalog)
    fill(catalog, 1, 300)
    grown = maintained(catalog)
    assert grown.manifest is not None
    assert (grown.manifest.rows, grown.manifest.trained_rows) == (2300, 2000)
    assert recall(grown, reader(catalog, NEVER)) >= 0.96
    catalog.forget([f"/p/0-{i}.jpg" for i in range(1000)])
    rebuilt = maintained(catalog)
    assert rebuilt.manifest is not None
    assert (rebuilt.manifest.rows, rebuilt.manifest.trained_rows) == (1300, 1300)
    assert folders(catalog) == 1


def test_progress_ends_at_the_total(catalog: Catalog) -> None:
    fill(catalog, 0, 2000)
    steps: list[tuple[int, int]] = []
    GraphMaintenance(catalog.vectors, DIMENSION, exact_up_to=1000).run(
        texts, lambda done, total: steps.append((done, total))
    )
    assert steps[-1] == (2000, 2000)


def test_what_progress_raises_cancels_a_build_and_leaves_nothing(catalog: Catalog) -> None:
    fill(catalog, 0, 2000)

    def cancel(done: int, total: int) -> None:
        raise InterruptedError

    with pytest.raises(InterruptedError):
        GraphMaintenance(catalog.vectors, DIMENSION, exact_up_to=1000).run(texts, cancel)
    assert folders(catalog) == 0
    assert maintained(catalog).manifest is not None


def test_growth_that_fails_leaves_the_old_snapshot(catalog: Catalog, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(graph_maintenance, "MIN_RECENT", 100)
    fill(catalog, 0, 2000)
    neighbours = maintained(catalog)
    fill(catalog, 1, 300)

    def full(*_: object) -> None:
        raise OSError(28, "No space left on device")

    with monkeypatch.context() as broken:
        broken.setattr(np, "save", full)
        with pytest.raises(OSError, match="No space"):
            neighbours.maintain(texts)
    neighbours.refresh()
    assert (len(neighbours), folders(catalog)) == (2300, 1)
    assert neighbours.maintain(texts)
    neighbours.refresh()
    assert len(neighbours) == 2300
    assert recall(neighbours, reader(catalog, NEVER)) >= 0.96


@pytest.mark.slow
@pytest.mark.parametrize("damage", ["missing", "truncated", "vectors", "other", "old format", "garbage", "swapped"])
def test_missing_damaged_and_foreign_files_are_built_again(catalog: Catalog, damage: str) -> None:
    fill(catalog, 0, 2000)
    made = maintained(catalog).manifest
    assert made is not None
    folder = snapshot_folder(catalog.vectors)
    place = folder / made.name
    manifest = folder / "current.json"
    if damage == "missing":
        next(place.glob("index*")).unlink()
    elif damage == "truncated":
        file = next(place.glob("index*"))
        file.write_bytes(file.read_bytes()[:1000])
    elif damage == "vectors":
        (place / "vectors.npy").write_bytes(b"")
    elif damage == "other":
        manifest.write_text(manifest.read_text().replace(catalog.connection.identity, "0" * 32))
    elif damage == "old format":
        manifest.write_text(manifest.read_text().replace('"format": 5', '"format": 4'))
    elif damage == "garbage":
        manifest.write_text("[1]")
    else:
        vectors = np.load(place / "vectors.npy")
        np.save(place / "vectors.npy", vectors[::-1])
    again = maintained(catalog)
    assert again.manifest is not None
    assert again.manifest.name != made.name
    assert folders(catalog) == 1
    assert recall(again, reader(catalog, NEVER)) >= 0.97


def test_two_processes_that_maintain_at_once_build_one_graph(catalog: Catalog) -> None:
    fill(catalog, 0, 2000)
    snapshot_folder(catalog.vectors).mkdir()
    results: list[bool] = []

    def other() -> None:
        with closing(Catalog(catalog.path, model_name="m", fingerprint="f" * 64, dimension=DIMENSION)) as opened:
            results.append(GraphMaintenance(opened.vectors, DIMENSION, exact_up_to=1000).run(texts))

    with closing(sqlite3.connect(snapshot_folder(catalog.vectors) / LOCK, isolation_level=None)) as lock:
        lock.execute("BEGIN EXCLUSIVE")
        threads = [threading.Thread(target=other) for _ in range(2)]
        for thread in threads:
            thread.start()
        threads[0].join(0.5)
        assert all(thread.is_alive() for thread in threads)
    for thread in threads:
        thread.join(60)
    assert sorted(results) == [False, True]
    assert folders(catalog) == 1
