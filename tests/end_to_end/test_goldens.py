"""What people and programs rely on, written down: a change of it is seen, and made on purpose.

``pytest tests/end_to_end/test_goldens.py --rewrite-goldens`` writes it down again.
"""

import asyncio
import json
import shutil
import sqlite3
from collections.abc import Callable
from contextlib import closing
from dataclasses import replace
from pathlib import Path
from typing import Any, cast

import httpx2
import numpy as np
import pytest
import typer
from PIL import Image
from typer.testing import CliRunner

from babelclip.cli.app import APP
from babelclip.models.model import Model
from babelclip.search.index import Index
from babelclip.service.app import create_app
from babelclip.service.metering.tables import open_database
from babelclip.service.state import Service
from babelclip.settings import service_settings

GOLDENS = Path(__file__).parent / "goldens"
TEXTS = ["ein Hund am Strand", "собака на пляже", "海辺の犬", "a red apple", "كلب على الشاطئ"]
QUERIES = ["blue", "grün", "красный", "白"]
COLOURS = {
    "red": (220, 30, 30),
    "green": (30, 180, 40),
    "blue": (30, 60, 220),
    "white": (250, 250, 250),
    "black": (5, 5, 5),
    "yellow": (240, 220, 30),
}
Golden = Callable[[str, str], None]


def plain_picture(name: str) -> Image.Image:
    """A picture of one colour with a darker half, which every decoder reads alike."""
    pixels = np.full((64, 96, 3), COLOURS[name], dtype=np.uint8)
    pixels[:, 48:] //= 2
    return Image.fromarray(pixels)


@pytest.fixture
def golden(request: pytest.FixtureRequest) -> Golden:
    """Compares a text with the golden file of a name, or writes it."""

    def compare(name: str, text: str) -> None:
        path = GOLDENS / name
        if request.config.getoption("--rewrite-goldens"):
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_text(text, encoding="utf-8")
        assert text == path.read_text(encoding="utf-8")

    return compare


@pytest.fixture(scope="module")
def mini() -> Model:
    """The bundled model in float32, whose numbers are the same on every processor within rounding."""
    return Model.load(precision="float32")


def helps() -> dict[str, str]:
    """The help of every command, in 100 columns without colours."""
    runner = CliRunner()
    pages: dict[str, str] = {}

    def walk(command: Any, names: list[str]) -> None:
        done = runner.invoke(APP, [*names, "--help"], env={"COLUMNS": "100", "TERM": "dumb", "NO_COLOR": "1"})
        assert done.exit_code == 0
        pages[" ".join(["babelclip", *names])] = "\n".join(line.rstrip() for line in done.output.splitlines())
        for name, inner in sorted(getattr(command, "commands", {}).items()):
            walk(inner, [*names, name])

    walk(typer.main.get_command(APP), [])
    return pages


def test_the_help_of_every_command_is_as_written_down(golden: Golden) -> None:
    golden("help.txt", "\n\n".join(f"$ {name} --help\n{text}" for name, text in helps().items()) + "\n")


def test_the_openapi_document_is_as_written_down(golden: Golden, pair: Model) -> None:
    async def document() -> Any:
        app = create_app(Service({"pair": pair}, service_settings()))
        transport = httpx2.ASGITransport(app)
        async with httpx2.AsyncClient(transport=transport, base_url="http://test") as client:
            return (await client.get("/openapi.json")).json()

    said = json.dumps(asyncio.run(document()), indent=1, sort_keys=True, ensure_ascii=False)
    golden("openapi.json", said + "\n")


def tables_of(database: Path) -> str:
    """The tables, indexes and triggers of a SQLite file."""
    with closing(sqlite3.connect(database)) as connection:
        rows = connection.execute("SELECT sql FROM sqlite_master WHERE sql IS NOT NULL ORDER BY type, name").fetchall()
        version = connection.execute("PRAGMA user_version").fetchone()[0]
    return f"-- user_version {version}\n" + "".join(f"{sql};\n" for (sql,) in rows)


def test_the_tables_of_a_new_index_are_as_written_down(golden: Golden, tmp_path: Path, pair: Model) -> None:
    with Index.open(tmp_path / "new.bc", pair):
        pass
    golden("index.sql", tables_of(tmp_path / "new.bc"))


def test_the_tables_of_a_new_service_database_are_as_written_down(golden: Golden, tmp_path: Path) -> None:
    open_database(f"sqlite:///{tmp_path / 'service.db'}").dispose()
    golden("service.sql", tables_of(tmp_path / "service.db"))


def test_the_vectors_of_mini_are_those_written_down(mini: Model, request: pytest.FixtureRequest) -> None:
    vectors = mini.encode([*TEXTS, *map(plain_picture, COLOURS)])
    if request.config.getoption("--rewrite-goldens"):
        np.save(GOLDENS / "vectors.npy", vectors.astype(np.float16))
    written = np.load(GOLDENS / "vectors.npy").astype(np.float32)
    assert (vectors * written).sum(axis=1).min() > 0.9999


class StandIn:
    """What an index asks of a model, so that the file need not be made again with every version of ``mini``."""

    name, fingerprint, dimension, text_spec = "stand-in", "5" * 64, 512, None


def test_an_index_of_version_0_1_answers_as_it_did(golden: Golden, tmp_path: Path) -> None:
    shutil.copy(GOLDENS / "index-0.1.bc", tmp_path / "old.bc")
    queries = np.load(GOLDENS / "queries-0.1.npy").astype(np.float32)
    said: dict[str, Any] = {}
    with Index.open(tmp_path / "old.bc", cast(Model, StandIn()), create=False) as index:
        for text, query in zip(QUERIES, queries, strict=True):
            said[text] = [[Path(hit.path).name, round(hit.score, 2)] for hit in index.nearest(query, k=3)]
        for where in ("name:e AND NOT name:blue", "tag:warm", "camera:one", "date>=2016", "caption:wall"):
            said[where] = [Path(hit.path).name for hit in index.nearest(queries[0], k=9, where=where)]
        said["failures"] = [[Path(path).name, reason] for path, reason in index.failures()]
    golden("index-0.1.json", json.dumps(said, indent=1, ensure_ascii=False) + "\n")


def test_a_service_database_of_version_0_1_answers_as_it_did(golden: Golden, pair: Model, tmp_path: Path) -> None:
    shutil.copy(GOLDENS / "service-0.1.db", tmp_path / "old.db")
    secret = (GOLDENS / "service-0.1.key").read_text().strip()

    async def answers() -> Any:
        service_settings.cache_clear()
        database = f"sqlite:///{tmp_path / 'old.db'}"
        service = Service({"pair": pair}, replace(service_settings(), database_url=database))
        app = create_app(service)
        async with app.router.lifespan_context(app):
            transport = httpx2.ASGITransport(app)
            headers = {"authorization": f"Bearer {secret}"}
            async with httpx2.AsyncClient(transport=transport, base_url="http://test", headers=headers) as client:
                usage = (await client.get("/v1/usage?by=key,day,model")).json()
                reply = await client.post("/v1/embeddings", json={"model": "pair", "input": ["a dog", "ein Hund"]})
                body = reply.json()
                for item in body["data"]:
                    item["embedding"] = len(item["embedding"])
                cost = reply.headers["x-cost-usd"]
                after = (await client.get("/v1/usage?by=key,model")).json()
                for row in after["data"]:
                    del row["milliseconds"]
        return {"usage": usage, "reply": body, "cost": cost, "usage after": after}

    golden("service-0.1.json", json.dumps(asyncio.run(answers()), indent=1, ensure_ascii=False) + "\n")
