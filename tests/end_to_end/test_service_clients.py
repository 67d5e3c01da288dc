"""Other people's clients, pointed at the service on this machine."""

import asyncio
import importlib.util
import json
import os
import shutil
import subprocess
import sys
import textwrap
import threading
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pytest
import uvicorn

from babelclip.models.model import Model
from babelclip.service.app import create_app
from babelclip.service.metering.keys import SCOPES
from babelclip.service.state import Service
from babelclip.settings import service_settings
from tests.helpers.serving import picture

NODE_MODULES = os.environ.get("BABELCLIP_TEST_NODE_MODULES", "")
TEXTS = ["a dog", "ein Hund am Strand"]


@dataclass
class Live:
    """A service at a port of this machine."""

    url: str
    secret: str


@pytest.fixture
def live(pair: Model) -> Iterator[Live]:
    service_settings.cache_clear()
    service = Service({"pair": pair}, service_settings())
    _, secret = service.keys.create("test", SCOPES)
    config = uvicorn.Config(create_app(service), host="127.0.0.1", port=0, log_config=None, access_log=False)
    socket = config.bind_socket()
    server = uvicorn.Server(config)
    thread = threading.Thread(target=lambda: asyncio.run(server.serve(sockets=[socket])))
    thread.start()
    while not server.started and thread.is_alive():
        time.sleep(0.01)
    yield Live(f"http://127.0.0.1:{socket.getsockname()[1]}", secret)
    server.should_exit = True
    thread.join()
    socket.close()


def test_openai_s_client(live: Live, pair: Model) -> None:
    openai = pytest.importorskip("openai")
    with openai.OpenAI(base_url=f"{live.url}/v1", api_key=live.secret, max_retries=0) as client:
        answer = client.embeddings.create(model="pair", input=TEXTS)
        floats = client.embeddings.create(model="pair", input=TEXTS, encoding_format="float", dimensions=8)
        names = [model.id for model in client.models.list()]
        with pytest.raises(openai.BadRequestError) as bad:
            client.embeddings.create(model="pair", input=[])
        with pytest.raises(openai.NotFoundError):
            client.embeddings.create(model="other", input="x")
    assert np.allclose([row.embedding for row in answer.data], pair.encode_text(TEXTS), atol=1e-5)
    assert answer.usage.total_tokens == sum(map(len, pair.tokenizer.encode(TEXTS)))
    assert len(floats.data[0].embedding) == 8
    assert names == ["pair"]
    assert bad.value.param == "input"
    wrong = openai.OpenAI(base_url=f"{live.url}/v1", api_key="bc-wrong", max_retries=0)
    with wrong as client, pytest.raises(openai.AuthenticationError):
        client.models.list()


def test_langchain_s_embeddings(live: Live, pair: Model) -> None:
    if importlib.util.find_spec("langchain_openai") is None:
        pytest.skip("langchain-openai is not installed")
    # Its default sends tokens of OpenAI's own vocabulary, which mean nothing to another model.
    script = """
        import json, sys
        from langchain_openai import OpenAIEmbeddings
        url, key, texts = sys.argv[1], sys.argv[2], json.loads(sys.argv[3])
        embeddings = OpenAIEmbeddings(model="pair", base_url=url, api_key=key, check_embedding_ctx_length=False)
        print(json.dumps([*embeddings.embed_documents(texts), embeddings.embed_query(texts[0])]))
    """
    command = [sys.executable, "-c", textwrap.dedent(script), f"{live.url}/v1", live.secret, json.dumps(TEXTS)]
    done = subprocess.run(command, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    assert np.allclose(json.loads(done.stdout), pair.encode_text([*TEXTS, TEXTS[0]]), atol=1e-5)


def test_deepinfra_s_client(live: Live, pair: Model, tmp_path: Path) -> None:
    if not shutil.which("node") or not NODE_MODULES:
        pytest.skip("there is no node with deepinfra's client: scripts/test installs it (BABELCLIP_TEST_NODE_MODULES)")
    photo = tmp_path / "photo.png"
    photo.write_bytes(picture())
    script = """
        const { Embeddings, ZeroShotImageClassification } = require("deepinfra");
        const { readFileSync } = require("fs");
        const [url, key, photo, texts] = process.argv.slice(1);
        const once = { maxRetries: 0 };
        (async () => {
            const embeddings = new Embeddings(url, key, once);
            const classes = new ZeroShotImageClassification(url, key, once);
            const candidate_labels = ["dog", "cat"];
            console.log(JSON.stringify([
                await embeddings.generate({ inputs: JSON.parse(texts), normalize: true }),
                await classes.generate({ image: photo, candidate_labels }),
                await classes.generate({ image: readFileSync(photo), candidate_labels }),
            ]));
        })();
    """
    command = ["node", "-e", script, f"{live.url}/v1/inference/pair", live.secret, str(photo), json.dumps(TEXTS)]
    done = subprocess.run(command, env={**os.environ, "NODE_PATH": NODE_MODULES}, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    embedded, from_path, from_bytes = json.loads(done.stdout)
    assert np.allclose(embedded["embeddings"], pair.encode_text(TEXTS), atol=1e-5)
    assert embedded["inference_status"]["status"] == "succeeded"
    assert sorted(row["label"] for row in from_path["results"]) == ["cat", "dog"]
    assert from_bytes["results"] == from_path["results"]


@pytest.mark.slow
def test_no_request_that_schemathesis_thinks_of_breaks_the_service(live: Live) -> None:
    command = [
        *(sys.executable, "-m", "schemathesis.cli", "run", f"{live.url}/openapi.json"),
        *("--header", f"Authorization: Bearer {live.secret}", "--checks", "not_a_server_error"),
        *("--phases", "examples,coverage,fuzzing", "--max-examples", "4", "--seed", "1", "--no-color"),
    ]
    environment = {name: value for name, value in os.environ.items() if not name.startswith("COVERAGE")}
    done = subprocess.run(command, capture_output=True, text=True, env=environment)
    assert done.returncode == 0, done.stdout[-4000:] + done.stderr[-2000:]
