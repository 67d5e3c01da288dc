import hashlib
from collections.abc import Callable
from pathlib import Path

import pytest
from sqlalchemy import Engine

from babelclip.errors import InputError
from babelclip.service.metering.keys import KeyLimits, KeyStore, now_ms
from babelclip.service.metering.tables import open_database


@pytest.fixture
def accounts(open_again: Callable[[], Engine]) -> KeyStore:
    return KeyStore(open_again())


def test_a_secret_finds_its_key_and_no_other_does(accounts: KeyStore) -> None:
    key, secret = accounts.create("web", ["search", "embed"])
    assert accounts.find(secret) == key
    assert key.scopes == ("embed", "search")
    wrong = secret[:-1] + ("A" if secret[-1] != "A" else "B")
    for other in (wrong, "", "bc-", secret + "x", "bc-00000000-" + secret[12:], secret.upper(), "ключ"):
        assert accounts.find(other) is None


def test_the_secret_itself_is_not_in_the_database(tmp_path: Path) -> None:
    file = tmp_path / "keys.db"
    engine = open_database(f"sqlite:///{file}")
    _, secret = KeyStore(engine).create("web", ["embed"])
    engine.dispose()
    stored = file.read_bytes() + b"".join(other.read_bytes() for other in tmp_path.glob("keys.db-*"))
    assert secret[12:].encode() not in stored
    assert hashlib.sha256(secret.encode()).digest() in stored


def test_a_revoked_key_says_so_and_stays_revoked(accounts: KeyStore) -> None:
    key, secret = accounts.create("web", ["embed"])
    revoked = accounts.revoke(key.id)
    assert revoked.state == "revoked"
    assert accounts.revoke(key.id) == revoked
    assert accounts.find(secret) == revoked


def test_a_key_ends_when_it_was_to_end(accounts: KeyStore) -> None:
    ended, _ = accounts.create("old", ["embed"], expires_ms=now_ms() - 1)
    going, _ = accounts.create("new", ["embed"], expires_ms=now_ms() + 60_000)
    assert (ended.state, going.state) == ("expired", "active")


def test_limits_are_kept_and_changed(accounts: KeyStore) -> None:
    key, _ = accounts.create("web", ["embed"], limits=KeyLimits(requests_per_minute=5))
    limits = KeyLimits(tokens_per_day=10, picodollars_per_month=2**62)
    assert accounts.limit(key.id, limits).limits == limits
    assert accounts.all()[0].limits == limits


def test_bad_keys_are_refused_by_name(accounts: KeyStore) -> None:
    with pytest.raises(InputError, match="not everything"):
        accounts.create("web", ["everything"])
    with pytest.raises(InputError, match="not none"):
        accounts.create("web", [])
    with pytest.raises(InputError, match="name"):
        accounts.create(" ", ["embed"])
    with pytest.raises(InputError, match="tokens_per_day"):
        accounts.create("web", ["embed"], limits=KeyLimits(tokens_per_day=0))
    with pytest.raises(InputError, match="keys list"):
        accounts.revoke("12345678")
