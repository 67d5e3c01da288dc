import asyncio
import base64
import json
import logging
import re
from pathlib import Path

import httpx2
import numpy as np
import pytest

from babelclip.model import Model
from babelclip.search import Index
from babelclip.service.accounts import KeyLimits
from babelclip.vectors import unit_rows
from serving import encoded, picture, running

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


BAD: list[tuple[object, int, str | None]] = [
    (b"{", 400, "invalid_json"),
    (b"", 400, "invalid_json"),
    (b"\xff\xfe", 400, "invalid_json"),
    (b"[" * 100_000, 400, "invalid_json"),
    ([], 400, "invalid_value"),
    ({"model": "pair"}, 400, "invalid_value"),
    ({"model": 3, "input": "x"}, 400, "invalid_value"),
    ({"model": "no", "input": "x"}, 404, "model_not_found"),
    ({"model": "pair", "input": ""}, 400, "invalid_value"),
    ({"model": "pair", "input": []}, 400, "invalid_value"),
    ({"model": "pair", "input": ["x", ""]}, 400, "invalid_value"),
    ({"model": "pair", "input": ["x", 3]}, 400, "invalid_value"),
    ({"model": "pair", "input": [[]]}, 400, "invalid_value"),
    ({"model": "pair", "input": [[1], ["x"]]}, 400, "invalid_value"),
    ({"model": "pair", "input": [True]}, 400, "invalid_value"),
    ({"model": "pair", "input": None}, 400, "invalid_value"),
    ({"model": "pair", "input": 3.5}, 400, "invalid_value"),
    ({"model": "pair", "input": ["x"] * 2049}, 400, "invalid_value"),
    ({"model": "pair", "input": [1] * 9000}, 400, "invalid_value"),
    ({"model": "pair", "input": [10**6]}, 400, "invalid_value"),
    ({"model": "pair", "input": [-1]}, 400, "invalid_value"),
    ({"model": "pair", "input": [10**30]}, 400, "invalid_value"),
    ({"model": "pair", "input": "x", "dimensions": 0}, 400, "invalid_value"),
    ({"model": "pair", "input": "x", "encoding_format": "hex"}, 400, "invalid_value"),
    ({"model": "pair", "input": "x", "unknown": 1}, 400, "invalid_value"),
    ({"model": "pair", "input": {"image": "%%%"}}, 400, "invalid_image"),
    ({"model": "pair", "input": {"image": "data:image/png,x"}}, 400, "invalid_image"),
    ({"model": "pair", "input": {"image": "aGVsbG8="}}, 400, "invalid_image"),
    ({"model": "pair", "input": {"image": "http://127.0.0.1/"}}, 400, "image_urls_off"),
    ({"model": "pair", "input": {"image": "x", "text": "y"}}, 400, "invalid_value"),
]


async def test_bad_input_gets_an_envelope_and_costs_nothing(pair: Model) -> None:
    async with running(pair) as here:
        for body, status, code in BAD:
            content = body if isinstance(body, bytes) else json.dumps(body).encode()
            headers = {"content-type": "application/json"}
            answer = await here.client.post("/v1/embeddings", content=content, headers=headers)
            error = answer.json()["error"]
            assert (answer.status_code, error["code"]) == (status, code), (content[:80], error)
            assert set(error) == {"message", "type", "param", "code"}
            assert len(error["message"]) < 500
        assert here.rows() == 0


async def test_a_picture_with_too_many_pixels_is_refused_before_it_is_decoded(pair: Model) -> None:
    async with running(pair, max_upload_pixels=100) as here:
        answer = await here.embed({"image": encoded(picture((200, 100)))})
    assert answer.json()["error"]["code"] == "image_too_large"
    assert "over the limit of 100" in answer.json()["error"]["message"]


async def test_a_body_over_the_limit_is_refused_whether_or_not_it_says_its_length(pair: Model) -> None:
    pulled = 0

    async def stream() -> object:
        nonlocal pulled
        for _ in range(1000):
            pulled += 1
            yield b" " * 1000

    async with running(pair, max_body_bytes=10_000) as here:
        stated = await here.client.post("/v1/embeddings", content=b" " * 10_001)
        streamed = await here.client.post("/v1/embeddings", content=stream())  # type: ignore[arg-type]
    for answer in (stated, streamed):
        assert (answer.status_code, answer.json()["error"]["code"]) == (413, "body_too_large")
        assert answer.headers["connection"] == "close"
    assert pulled < 20


async def test_a_body_that_does_not_come_is_not_waited_for(pair: Model, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("babelclip.service.guard.BODY_SECONDS", 0.05)

    async def never() -> object:
        yield b"{"
        await asyncio.sleep(60)

    async with running(pair) as here:
        answer = await here.client.post("/v1/embeddings", content=never())  # type: ignore[arg-type]
    assert (answer.status_code, answer.json()["error"]["code"]) == (408, "body_too_slow")


async def test_another_kind_of_body_is_refused(pair: Model) -> None:
    async with running(pair) as here:
        answer = await here.client.post("/v1/embeddings", content=b"x", headers={"content-type": "text/xml"})
    assert answer.status_code == 415


async def test_without_a_valid_key_nothing_is_done(pair: Model) -> None:
    async with running(pair) as here:
        body = {"model": "pair", "input": "x"}
        for header in ("", "Bearer", "Bearer x", f"Basic {here.secret}", f"Bearer {here.secret}x", "Bearer \xff"):
            answer = await here.client.post(
                "/v1/embeddings", json=body, headers={b"authorization": header.encode("latin-1")}
            )
            assert answer.status_code == 401
            assert answer.headers["www-authenticate"] == "Bearer"
        lower = await here.client.post("/v1/embeddings", json=body, headers={"authorization": f"bearer {here.secret}"})
        assert lower.status_code == 200
        for path in ("/v1/models", "/v1/usage", "/v1/indexes", "/metrics"):
            assert (await here.client.get(path, headers={"authorization": ""})).status_code == 401


async def test_a_key_may_only_what_its_scopes_say(pair: Model) -> None:
    async with running(pair, scopes=("search",)) as here:
        embed = await here.embed("x")
        infer = await here.client.post("/v1/inference/pair", json={"inputs": ["x"]})
        metrics = await here.client.get("/metrics")
        classify = await here.client.post("/v1/classify", json={})
    assert [a.status_code for a in (embed, infer, metrics, classify)] == [403] * 4
    assert embed.json()["error"]["code"] == "insufficient_scope"


async def test_a_revoked_key_is_refused_when_it_is_looked_at_again(
    pair: Model, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("babelclip.service.desk.KEY_SECONDS", 0)
    async with running(pair) as here:
        assert (await here.embed("x")).status_code == 200
        here.service.accounts.revoke(here.key.id)
        answer = await here.embed("x")
    assert (answer.status_code, answer.json()["error"]["code"]) == (401, "revoked_api_key")


async def test_rates_and_quotas_are_429_with_a_time(pair: Model) -> None:
    async with running(pair, limits=KeyLimits(requests_per_minute=1)) as here:
        assert (await here.embed("x")).status_code == 200
        answer = await here.embed("x")
    assert (answer.status_code, answer.json()["error"]["code"]) == (429, "rate_limit_exceeded")
    assert int(answer.headers["retry-after"]) >= 1
    async with running(pair, limits=KeyLimits(tokens_per_day=20)) as here:
        answers = await asyncio.gather(*(here.embed("dog") for _ in range(20)))
        used = sum(a.json()["usage"]["total_tokens"] for a in answers if a.status_code == 200)
        assert used == here.service.ledger.usage([], key_id=here.key.id)[0].tokens
        assert {a.status_code for a in answers} == {200, 429}
        assert used <= 20


async def test_a_store_that_fails_is_a_503_and_nothing_is_answered(
    pair: Model, monkeypatch: pytest.MonkeyPatch
) -> None:
    from sqlalchemy.exc import OperationalError

    def broken(*_: object) -> None:
        raise OperationalError("INSERT", {}, OSError("full"))

    monkeypatch.setattr("babelclip.service.ledger.PAUSE_SECONDS", 0)
    async with running(pair) as here:
        with monkeypatch.context() as away:
            away.setattr("babelclip.service.ledger._insert", broken)
            answer = await here.embed("x")
        assert here.rows() == 0
    assert (answer.status_code, answer.json()["error"]["code"]) == (503, "store_unavailable")
    assert "data" not in answer.json()


async def test_an_unexpected_error_is_a_fixed_sentence_and_its_text_is_not_logged(
    pair: Model, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    def broken(*_: object, **__: object) -> None:
        raise ZeroDivisionError(TEXTS[0])

    monkeypatch.setattr("babelclip.service.embeddings._reply", broken)
    async with running(pair) as here:
        with caplog.at_level(logging.DEBUG):
            answer = await here.embed(TEXTS[0])
        assert here.rows() == 0
    assert answer.status_code == 500
    assert answer.headers["x-request-id"] in answer.json()["error"]["message"]
    assert answer.headers["x-request-id"] in caplog.text
    assert "ZeroDivisionError" in caplog.text
    assert TEXTS[0] not in caplog.text + answer.text


async def test_texts_and_secrets_are_not_logged(pair: Model, caplog: pytest.LogCaptureFixture) -> None:
    with caplog.at_level(logging.DEBUG):
        async with running(pair) as here:
            await here.embed("a private text")
            await here.embed(["a private text", 3])
            await here.client.get("/v1/models?key=private", headers={"authorization": "Bearer private"})
            assert here.secret not in caplog.text
    own = [record.getMessage() for record in caplog.records if record.name.startswith("babelclip")]
    assert own
    assert "private" not in "".join(own)


async def test_a_client_that_leaves_frees_the_queue_and_pays_nothing(pair: Model) -> None:
    async with running(pair) as here:
        batcher = here.service.engines["pair"].batcher
        with batcher._changed:  # the model waits
            sent = False
            gone = asyncio.Event()
            body = json.dumps({"model": "pair", "input": ["dog"] * 50}).encode()

            async def receive() -> dict[str, object]:
                nonlocal sent
                if not sent:
                    sent = True
                    return {"type": "http.request", "body": body, "more_body": False}
                await gone.wait()
                return {"type": "http.disconnect"}

        answered: list[object] = []

        async def send(message: object) -> None:
            answered.append(message)

        headers = [(b"authorization", f"Bearer {here.secret}".encode()), (b"content-type", b"application/json")]
        scope = {"type": "http", "method": "POST", "path": "/v1/embeddings", "headers": headers, "query_string": b""}
        stuck = asyncio.Event()

        async def run(*_: object) -> None:
            await stuck.wait()

        batcher.run = run  # type: ignore[assignment]
        app = here.client._transport.app  # type: ignore[attr-defined]
        call = asyncio.ensure_future(app({**scope, "raw_path": b"/v1/embeddings", "root_path": ""}, receive, send))
        await asyncio.sleep(0.05)
        gone.set()
        await call
        assert answered == []
        assert here.rows() == 0


async def test_a_request_that_takes_too_long_is_given_up(pair: Model) -> None:
    async with running(pair, request_seconds=0.05) as here:
        stuck = asyncio.Event()

        async def run(*_: object) -> None:
            await stuck.wait()

        here.service.engines["pair"].batcher.run = run  # type: ignore[assignment,method-assign]
        answer = await here.embed("x")
        assert here.rows() == 0
    assert (answer.status_code, answer.json()["error"]["code"]) == (503, "deadline_exceeded")


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
        _, other = here.service.accounts.create("other", ["embed"])
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
