import asyncio
import base64
import json
import re
from pathlib import Path

import httpx2
import numpy as np
import pytest

from babelclip.models.model import Model
from babelclip.search.index import Index
from babelclip.service.metering.keys import KeyLimits
from babelclip.vectors import unit_rows
from tests.helpers.serving import encoded, picture, running

pytestmark = pytest.mark.anyio

TEXTS = ["a dog", "ein Hund am Strand"]


def vectors(answer: httpx2.Response) -> np.ndarray:
    assert answer.status_code == 200, answer.text
    return np.array([row["embedding"] for row in answer.json()["data"]], dtype=np.float32)


async def test_texts_tokens_and_pictures_have_the_vectors_of_the_model(pair: Model) -> None:
    ids = pair.tokenizer.encode(TEXTS)
    async with running(pair) as here:
        plain = await here.embed(TEXTS)
        bare = await here.embed([row[1:-1] for row in ids])
        framed = await here.embed(ids)
        one = await here.embed(ids[0])
        mixed = await here.embed([{"image": encoded(picture())}, {"text": TEXTS[0]}, TEXTS[1]])
    assert np.allclose(vectors(plain), pair.encode_text(TEXTS), atol=1e-5)
    assert plain.json()["usage"]["prompt_tokens"] == sum(map(len, ids))
    assert bare.json() == framed.json() == plain.json()
    assert np.allclose(vectors(one), vectors(plain)[:1], atol=1e-6)
    expected = np.vstack([pair.encode_images([picture()]), pair.encode_text(TEXTS)])
    assert np.allclose(vectors(mixed), expected, atol=1e-5)
    assert [row["index"] for row in mixed.json()["data"]] == [0, 1, 2]


async def test_routes_below_a_root_path_answer_alike(pair: Model) -> None:
    async with running(pair) as here:
        behind = httpx2.ASGITransport(here.app, root_path="/below")
        async with httpx2.AsyncClient(transport=behind, base_url="http://test", headers=here.client.headers) as routed:
            for body, headers in (
                ({"model": "pair", "input": "dog"}, {}),
                ({"model": "pair", "input": ""}, {}),
                ({"model": "none", "input": "dog"}, {}),
                ({"model": "pair", "input": "dog"}, {"authorization": ""}),
            ):
                for path in ("/v1/embeddings", "/v1/openai/embeddings"):
                    short = await here.client.post(path, json=body, headers=headers)
                    long = await routed.post(f"/below{path}", json=body, headers=headers)
                    assert (short.status_code, short.json()) == (long.status_code, long.json())
                    changing = {"x-request-id", "x-processing-ms"}
                    assert {k: v for k, v in short.headers.items() if k not in changing} == {
                        k: v for k, v in long.headers.items() if k not in changing
                    }
        routes = {entry.route for entry in here.service.ledger.rows()}
    assert routes == {"/v1/embeddings", "/v1/openai/embeddings"}


async def test_base64_is_of_little_endian_float32(pair: Model) -> None:
    async with running(pair) as here:
        plain, packed = await here.embed("dog"), await here.embed("dog", encoding_format="base64")
    unpacked = np.frombuffer(base64.b64decode(packed.json()["data"][0]["embedding"]), "<f4")
    assert np.allclose(unpacked, vectors(plain)[0], atol=1e-7)


async def test_fewer_dimensions_are_the_first_ones_at_unit_length(pair: Model) -> None:
    async with running(pair) as here:
        short = vectors(await here.embed("dog", dimensions=4))
        assert (await here.embed("dog", dimensions=pair.dimension + 1)).status_code == 400
    assert np.allclose(short, unit_rows(pair.encode_text(["dog"])[:, :4]), atol=1e-5)


async def test_a_long_text_is_cut_and_said_so_and_a_very_long_one_refused(pair: Model) -> None:
    long, very_long = "dog " * 200, "dog " * 5000
    async with running(pair) as here:
        cut = await here.embed([long, "dog"])
        refused = await here.embed(very_long)
        allowed = await here.embed(very_long, truncate=True)
        rows = here.rows()
    assert cut.headers["x-truncated-inputs"] == "1"
    assert refused.status_code == 400
    assert refused.json()["error"]["code"] == "context_length_exceeded"
    assert np.allclose(vectors(allowed), vectors(cut)[:1], atol=1e-5)
    assert rows == 2


async def test_a_request_costs_what_its_tokens_and_images_cost(pair: Model) -> None:
    async with running(pair, prices="pair=0.005/0.25") as here:
        text = await here.embed(TEXTS)
        image = await here.embed({"image": encoded(picture())})
        (row,) = here.service.ledger.usage([])
        listed = list(here.service.ledger.rows())
    tokens = text.json()["usage"]["total_tokens"]
    assert float(text.headers["x-cost-usd"]) == pytest.approx(tokens * 5e-9)
    assert image.headers["x-cost-usd"] == "0.00000025"
    assert (row.requests, row.tokens, row.images, row.picodollars) == (2, tokens, 1, tokens * 5000 + 250_000)
    assert [entry.request_id for entry in listed] == [a.headers["x-request-id"] for a in (text, image)]
    assert listed[0].bytes == len(text.request.content)
    assert (listed[0].model, listed[0].route, listed[0].key_id) == ("pair", "/v1/embeddings", here.key.id)


async def test_deepinfra_has_its_own_form(pair: Model) -> None:
    async with running(pair) as here:
        raw = await here.client.post("/v1/inference/pair", json={"inputs": TEXTS, "image": encoded(picture())})
        unit = await here.client.post("/v1/inference/pair", json={"inputs": TEXTS, "normalize": True})
        tier = await here.client.post("/v1/openai/embeddings", json={"model": "pair", "input": "x"})
        nothing = await here.client.post("/v1/inference/pair", json={})
        hook = await here.client.post("/v1/inference/pair", json={"inputs": TEXTS, "webhook": "http://10.0.0.1"})
    expected = np.vstack([pair.encode_text(TEXTS, unit=False), pair.encode_images([picture()], unit=False)])
    assert np.allclose(raw.json()["embeddings"], expected, atol=1e-4)
    assert np.allclose(unit.json()["embeddings"], pair.encode_text(TEXTS), atol=1e-5)
    status = unit.json()["inference_status"]
    assert status["status"] == "succeeded"
    assert status["cost"] == pytest.approx(unit.json()["input_tokens"] * 5e-9)
    assert unit.json()["request_id"] == unit.headers["x-request-id"]
    assert tier.json()["service_tier"] == "default"
    assert (nothing.status_code, hook.status_code) == (400, 400)


async def test_zero_shot_takes_json_and_forms_with_and_without_a_file_name(pair: Model) -> None:
    labels = ["dog", "cat", "tree"]
    async with running(pair) as here:
        plain = await here.client.post(
            "/v1/inference/pair", json={"image": encoded(picture()), "candidate_labels": labels}
        )
        form = await here.client.post(
            "/v1/inference/pair", data={"candidate_labels": json.dumps(labels)}, files={"image": ("a.png", picture())}
        )
        boundary = b"xx"
        parts = [b'name="image"\r\n\r\n' + picture(), b'name="candidate_labels"\r\n\r\n' + json.dumps(labels).encode()]
        body = b"".join(b"--xx\r\nContent-Disposition: form-data; " + part + b"\r\n" for part in parts) + b"--xx--\r\n"
        headers = {"content-type": f"multipart/form-data; boundary={boundary.decode()}"}
        nameless = await here.client.post("/v1/inference/pair", content=body, headers=headers)
        broken = await here.client.post("/v1/inference/pair", content=body[5:], headers=headers)
        endless = await here.client.post(
            "/v1/inference/pair", content=b"x", headers={"content-type": "multipart/form-data"}
        )
    assert plain.json()["results"] == form.json()["results"] == nameless.json()["results"]
    scores = [row["score"] for row in plain.json()["results"]]
    assert sorted(scores, reverse=True) == scores
    assert sum(scores) == pytest.approx(1, abs=1e-4)
    assert (broken.status_code, endless.status_code) == (400, 400)


async def test_classification_says_what_the_library_says(pair: Model) -> None:
    from babelclip.zeroshot import Classifier

    labels = {"animal": {"dog": ["dog"], "cat": ["cat"]}, "tree": ["tree"]}
    async with running(pair) as here:
        body = {"model": "pair", "images": [encoded(picture()), encoded(picture((9, 9)))], "labels": labels}
        first = await here.client.post("/v1/classify", json={**body, "language": "en", "top": 2})
        again = await here.client.post("/v1/classify", json={**body, "language": "en", "top": 2})
        single = await here.client.post(
            "/v1/classify", json={"model": "pair", "images": encoded(picture()), "labels": ["dog"]}
        )
        cost = [entry.picodollars for entry in here.service.ledger.rows()]
    expected = Classifier(pair, labels, language="en").classify([picture(), picture((9, 9))], 2)
    assert first.json() == again.json()
    assert cost[0] == cost[1]
    for row, prediction in zip(first.json()["data"], expected, strict=True):
        assert row["label"] == prediction.label
        assert [one["label"] for one in row["ranked"]] == [one.label for one in prediction.ranked]
        assert row["ranked"][0]["score"] == pytest.approx(prediction.ranked[0].score, abs=1e-3)
    assert "none" in single.json()["data"][0]


@pytest.mark.parametrize("labels", [[], ["a", "a"], [""], {}, {"a": 3}, ["x"] * 1001, ["\u200b"]])
async def test_labels_that_cannot_be_used_are_refused(pair: Model, labels: object) -> None:
    async with running(pair) as here:
        body = {"model": "pair", "images": encoded(picture()), "labels": labels}
        answer = await here.client.post("/v1/classify", json=body)
        assert answer.status_code == 400, answer.text
        assert here.rows() == 0


async def test_search_finds_what_the_index_finds_in_pages_and_with_thumbnails(
    pair: Model, photos: Path, tmp_path: Path
) -> None:
    file = tmp_path / "photos.bc"
    with Index.open(file, pair) as index:
        index.add_folder(photos)
        expected = index.search("dog", k=5)
    async with running(pair, indexes={"mine": file}) as here:
        whole = await here.client.post("/v1/search", json={"query": "dog", "k": 5, "thumbnails": True})
        page = await here.client.post("/v1/search", json={"query": "dog", "k": 2, "page": 2, "index": "mine"})
        own = {"image": encoded((photos / "a.jpg").read_bytes())}
        alike = await here.client.post("/v1/search", json={"query": own, "k": 1})
        unknown = await here.client.post("/v1/search", json={"query": "dog", "index": "other"})
        blank = await here.client.post("/v1/search", json={"query": "  "})
        listed = await here.client.get("/v1/indexes")
        (photos / "a.jpg").unlink()
        gone = await here.client.post("/v1/search", json={"query": own, "k": 1, "thumbnails": True})
    assert [hit["path"] for hit in whole.json()["data"]] == [hit.path for hit in expected]
    assert all(hit["thumbnail"].startswith("data:image/jpeg;base64,") for hit in whole.json()["data"])
    assert [hit["rank"] for hit in page.json()["data"]] == [3, 4]
    assert alike.json()["data"][0]["path"].endswith("a.jpg")
    assert (unknown.status_code, blank.status_code) == (404, 400)
    assert listed.json()["data"] == [{"id": "mine", "object": "index", "model": "pair", "photos": 5}]
    assert gone.json()["data"][0]["thumbnail"] is None


async def test_without_an_index_search_says_so(pair: Model) -> None:
    async with running(pair) as here:
        answer = await here.client.post("/v1/search", json={"query": "dog"})
    assert answer.status_code == 404
    assert "no index is mounted" in answer.json()["error"]["message"]


async def test_usage_is_of_the_own_key_but_for_admins(pair: Model) -> None:
    async with running(pair) as here:
        _, other = here.service.keys.create("other", ["embed"])
        theirs = {"authorization": f"Bearer {other}"}
        await here.embed("x")
        await here.client.post("/v1/embeddings", json={"model": "pair", "input": "x"}, headers=theirs)
        everything = (await here.client.get("/v1/usage?by=key")).json()["data"]
        own = (await here.client.get("/v1/usage?by=key", headers=theirs)).json()["data"]
        peeking = await here.client.get(f"/v1/usage?key={here.key.id}", headers=theirs)
        table = await here.client.get("/v1/usage?by=day,model&format=csv")
        bad = [await here.client.get(f"/v1/usage?{q}") for q in ("by=x", "since=x", "since=2026-02-31", "format=xml")]
    assert len(everything) == 2
    assert [row["requests"] for row in own] == [1]
    assert peeking.status_code == 403
    assert table.text.splitlines()[0] == (
        "day,model,requests,tokens,images,bytes,milliseconds,cost_microdollars,cost_dollars"
    )
    assert [answer.status_code for answer in bad] == [400] * 4


async def test_models_are_listed_with_prices_and_languages(pair: Model) -> None:
    async with running(pair, prices="pair=0.01/1") as here:
        listed = (await here.client.get("/v1/models")).json()["data"]
        one = await here.client.get("/v1/models/pair")
        published = await here.client.get("/v1/models/sentence-transformers/pair")
        missing = await here.client.get("/v1/models/no")
    assert [model["id"] for model in listed] == ["pair"]
    assert one.json() == published.json() == listed[0]
    assert (one.json()["price_per_million_tokens"], one.json()["price_per_million_images"]) == (0.01, 1.0)
    assert missing.status_code == 404


async def test_health_readiness_and_metrics(pair: Model) -> None:
    async with running(pair, open_metrics=True) as here:
        await here.embed("x")
        open_client = {"authorization": ""}
        health = await here.client.get("/healthz", headers=open_client)
        ready = await here.client.get("/readyz", headers=open_client)
        metrics = (await here.client.get("/metrics", headers=open_client)).text
        here.service.ready = False
        unready = await here.client.get("/readyz")
    assert health.status_code == ready.status_code == 200
    assert unready.status_code == 503
    assert 'babelclip_requests_total{method="POST",route="/v1/embeddings",status="200"} 1.0' in metrics
    assert re.search(r'babelclip_tokens_total\{model="pair"\} [1-9]', metrics)


async def test_the_page_and_every_answer_carry_the_headers_of_safety(pair: Model) -> None:
    async with running(pair, cors_origins=("https://a.test",)) as here:
        page = await here.client.get("/", headers={"authorization": ""})
        outside = await here.client.get("/page/..%2fapp.py")
        missing = await here.client.get("/nowhere")
        preflight = {"origin": "https://a.test", "access-control-request-method": "POST"}
        allowed = await here.client.options("/v1/embeddings", headers=preflight)
        refused = await here.client.options("/v1/embeddings", headers={**preflight, "origin": "https://b.test"})
    assert page.status_code == 200
    assert page.headers["content-type"].startswith("text/html")
    assert (outside.status_code, missing.status_code) == (404, 404)
    for answer in (page, missing):
        assert "default-src 'none'" in answer.headers["content-security-policy"]
        assert answer.headers["x-content-type-options"] == "nosniff"
    assert allowed.headers["access-control-allow-origin"] == "https://a.test"
    assert "access-control-allow-credentials" not in allowed.headers
    assert "access-control-allow-origin" not in refused.headers


@pytest.mark.anyio
@pytest.mark.parametrize("clients", [1, 8, 32])
async def test_a_quota_answers_exactly_what_it_allows(
    pair: Model, monkeypatch: pytest.MonkeyPatch, clients: int
) -> None:
    monkeypatch.setattr("babelclip.service.metering.quotas.REFRESH_SECONDS", 0.01)
    async with running(pair) as free:
        tokens = (await free.embed("a dog")).json()["usage"]["prompt_tokens"]
    async with running(pair, limits=KeyLimits(tokens_per_day=40 * tokens)) as service:
        statuses: list[int] = []

        async def client() -> None:
            for _ in range(96 // clients):
                statuses.append((await service.embed("a dog")).status_code)

        rows = service.rows()
        await asyncio.gather(*(client() for _ in range(clients)))
        assert sorted(statuses) == [200] * 40 + [429] * 56
        assert service.rows() == rows + 40
