"""What the service does not do: bad input, wrong keys, limits, stores that fail, clients that leave."""

import asyncio
import json
import logging

import pytest

from babelclip.models.model import Model
from babelclip.service.app import openapi_document
from babelclip.service.metering.keys import KeyLimits, now_ms
from tests.helpers.serving import encoded, picture, running

pytestmark = pytest.mark.anyio

TEXT = "a dog"

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


async def test_what_is_wrong_with_one_of_several_names_its_place(pair: Model) -> None:
    async with running(pair) as here:
        good, bad = {"image": encoded(picture())}, {"image": "aGVsbG8="}
        for value in (["dog", good, bad], [[1], [2], [10**6]], ["dog", "dog", ""]):
            answer = await here.embed(value)
            assert answer.status_code == 400
            assert "item 2" in answer.json()["error"]["message"]
        body = {"model": "pair", "images": [good["image"], bad["image"]], "labels": ["dog"]}
        assert "item 1" in (await here.client.post("/v1/classify", json=body)).json()["error"]["message"]
        assert "item" not in (await here.embed([bad])).json()["error"]["message"]
        assert here.rows() == 0


async def test_a_key_that_has_ended_is_refused_and_says_so(pair: Model) -> None:
    async with running(pair) as here:
        key, secret = here.service.keys.create("old", ["embed"], expires_ms=now_ms() - 1)
        answer = await here.client.post("/v1/embeddings", json={}, headers={"authorization": f"Bearer {secret}"})
        assert here.service.ledger.usage([], key_id=key.id) == []
    assert (answer.status_code, answer.json()["error"]["code"]) == (401, "expired_api_key")


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
    monkeypatch.setattr("babelclip.service.http.middleware.BODY_SECONDS", 0.05)

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
    monkeypatch.setattr("babelclip.service.metering.access.KEY_SECONDS", 0)
    async with running(pair) as here:
        assert (await here.embed("x")).status_code == 200
        here.service.keys.revoke(here.key.id)
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
        # What was charged is still counted when nothing is under way any more.
        assert (await here.embed("dog")).status_code == 429


async def test_a_store_that_fails_is_a_503_and_nothing_is_answered(
    pair: Model, monkeypatch: pytest.MonkeyPatch
) -> None:
    from sqlalchemy.exc import OperationalError

    def broken(*_: object) -> None:
        raise OperationalError("INSERT", {}, OSError("full"))

    monkeypatch.setattr("babelclip.service.metering.ledger.PAUSE_SECONDS", 0)
    async with running(pair) as here:
        with monkeypatch.context() as away:
            away.setattr("babelclip.service.metering.ledger.insert_entries", broken)
            answer = await here.embed("x")
        assert here.rows() == 0
    assert (answer.status_code, answer.json()["error"]["code"]) == (503, "store_unavailable")
    assert "data" not in answer.json()


async def test_an_unexpected_error_is_a_fixed_sentence_and_its_text_is_not_logged(
    pair: Model, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    def broken(*_: object, **__: object) -> None:
        raise ZeroDivisionError(TEXT)

    monkeypatch.setattr("babelclip.service.routes.embeddings.embeddings_content", broken)
    async with running(pair) as here:
        with caplog.at_level(logging.DEBUG):
            answer = await here.embed(TEXT)
        assert here.rows() == 0
    assert answer.status_code == 500
    assert answer.headers["x-request-id"] in answer.json()["error"]["message"]
    assert answer.headers["x-request-id"] in caplog.text
    assert "ZeroDivisionError" in caplog.text
    assert TEXT not in caplog.text + answer.text


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
        batcher = here.service.workers["pair"].batcher
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
        call = asyncio.ensure_future(here.app({**scope, "raw_path": b"/v1/embeddings", "root_path": ""}, receive, send))
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

        here.service.workers["pair"].batcher.run = run  # type: ignore[assignment,method-assign]
        answer = await here.embed("x")
        assert here.rows() == 0
    assert (answer.status_code, answer.json()["error"]["code"]) == (503, "deadline_exceeded")


async def test_a_slash_behind_a_route_is_not_found_in_the_envelope_and_with_all_headers(pair: Model) -> None:
    async with running(pair) as here:
        paths = {path: operations for path, operations in openapi_document()["paths"].items() if path != "/"}
        assert len(paths) >= 10
        for path, operations in paths.items():
            asked = path.format(model="pair", index="photos", photo="0" * 64) + "/"
            for method in operations:
                answer = await here.client.request(method, asked, json={})
                assert answer.status_code == 404, asked
                error = answer.json()["error"]
                assert (error["type"], error["code"]) in {
                    ("invalid_request_error", "not_found"),
                    ("invalid_request_error", "model_not_found"),
                }, asked
                assert answer.headers["x-content-type-options"] == "nosniff"
                assert "x-request-id" in answer.headers
        answer = await here.client.post("/v1/embeddings/")
        assert answer.json()["error"]["message"].endswith("no path but / ends with a slash")
