import hashlib
import subprocess
import sys
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import pytest
from alembic import command
from alembic.autogenerate import compare_metadata
from alembic.config import Config
from alembic.migration import MigrationContext
from alembic.script import ScriptDirectory
from sqlalchemy import Connection, Engine, inspect, select, text

from babelclip.errors import InputError, StoreError
from babelclip.service.metering import tables
from babelclip.service.metering.keys import KeyLimits, KeyStore, now_ms
from babelclip.service.metering.tables import METADATA, open_database


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


def migrations() -> Config:
    config = Config()
    config.set_main_option("script_location", str(tables.MIGRATIONS))
    return config


def described(connection: Connection) -> dict[str, Any]:
    """Columns, primary keys and indexes of all tables, as the database has them."""
    database = inspect(connection)
    return {
        name: (
            [{**column, "type": str(column["type"])} for column in database.get_columns(name)],
            database.get_pk_constraint(name)["constrained_columns"],
            database.get_indexes(name),
        )
        for name in database.get_table_names()
    }


def test_the_migrations_make_what_a_new_database_gets_at_once(open_again: Callable[[], Engine]) -> None:
    engine = open_again()
    with engine.connect() as connection:
        made = described(connection)
    config = migrations()
    assert ScriptDirectory.from_config(config).get_current_head() == tables.NEWEST
    with engine.begin() as connection:
        METADATA.drop_all(connection)
        tables.VERSION.drop(connection)
    with engine.begin() as connection:
        config.attributes["connection"] = connection
        command.upgrade(config, "head")
    with engine.connect() as connection:
        assert described(connection) == made
        assert made.keys() == {"keys", "ledger", "totals", "alembic_version"}
        assert compare_metadata(MigrationContext.configure(connection), METADATA) == []
        assert connection.scalar(select(tables.VERSION.c.version_num)) == tables.NEWEST


def test_a_database_at_another_migration_is_migrated_and_nothing_else_is(
    open_again: Callable[[], Engine], monkeypatch: pytest.MonkeyPatch
) -> None:
    migrated: list[Engine] = []
    monkeypatch.setattr(tables, "_migrate", migrated.append)
    engine = open_again()
    open_again()
    assert migrated == []
    with engine.begin() as connection:
        connection.execute(tables.VERSION.update().values(version_num="0000"))
    assert migrated == [open_again()]


def test_a_new_database_and_one_that_is_up_to_date_are_opened_without_what_migrates(tmp_path: Path) -> None:
    said = (
        "import sys; from babelclip.service.metering.tables import open_database;"
        " open_database(sys.argv[1]); print(*sys.modules)"
    )
    for _ in range(2):
        run = [sys.executable, "-c", said, f"sqlite:///{tmp_path / 'service.db'}"]
        loaded = subprocess.run(run, capture_output=True, text=True, check=True).stdout.split()
        assert "sqlalchemy" in loaded
        assert "alembic" not in loaded


def test_services_that_start_at_once_on_a_new_database_take_turns(database_url: str) -> None:
    with ThreadPoolExecutor(4) as pool:
        engines = list(pool.map(open_database, [database_url] * 4))
    secrets = [KeyStore(engine).create("web", ["embed"])[1] for engine in engines]
    assert all(KeyStore(engines[0]).find(secret) for secret in secrets)
    for engine in engines:
        engine.dispose()


def test_a_database_that_cannot_be_used_is_named_without_its_password(tmp_path: Path) -> None:
    (tmp_path / "broken.db").write_bytes(b"not a database" * 100)
    with pytest.raises(StoreError, match=r"broken\.db"):
        open_database(f"sqlite:///{tmp_path / 'broken.db'}")
    for url in ("mysql://me:secret@host/name", "nonsense secret", "postgresql+nope://me:secret@host/x"):
        with pytest.raises(InputError, match="BABELCLIP_DATABASE_URL") as refused:
            open_database(url)
        assert "secret" not in str(refused.value)
    with pytest.raises(StoreError) as away:
        open_database(f"postgresql://me:secret@/x?host={tmp_path}")
    assert "secret" not in str(away.value)


def test_a_database_is_up_to_date_when_it_is_opened_twice(open_again: Callable[[], Engine]) -> None:
    open_again()
    with open_again().connect() as connection:
        assert connection.execute(text("SELECT version_num FROM alembic_version")).scalar() == "0001"
    assert tables.MIGRATIONS.is_dir()
