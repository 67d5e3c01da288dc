import shutil
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import pytest
from sqlalchemy import Engine, create_engine, inspect, select, text

from babelclip.errors import InputError, StoreError
from babelclip.service.metering.keys import KeyStore
from babelclip.service.metering.tables import METADATA, VERSION, open_database

DATABASE_0_1 = Path(__file__).parents[2] / "end_to_end/goldens/service-0.1.db"
MIGRATIONS = (
    ("ALTER TABLE keys ADD COLUMN note VARCHAR(20)", "UPDATE keys SET note = 'first'"),
    ("UPDATE keys SET note = 'second'",),
)


def described(engine: Engine) -> dict[str, Any]:
    """Columns, primary keys and indexes of all tables, as the database has them."""
    database = inspect(engine)
    return {
        name: (
            [{**column, "type": str(column["type"])} for column in database.get_columns(name)],
            database.get_pk_constraint(name)["constrained_columns"],
            database.get_indexes(name),
        )
        for name in database.get_table_names()
    }


def version(engine: Engine) -> Any:
    with engine.connect() as connection:
        return connection.execute(select(VERSION.c.version)).scalars().all()


def as_of_0_1(engine: Engine, revision: str = "0001") -> None:
    """Put the version where alembic kept it."""
    with engine.begin() as connection:
        VERSION.drop(connection)
        connection.execute(text("CREATE TABLE alembic_version (version_num VARCHAR(32) NOT NULL PRIMARY KEY)"))
        connection.execute(text(f"INSERT INTO alembic_version VALUES ('{revision}')"))


def test_a_new_database_has_all_tables_and_one_version(open_again: Callable[[], Engine]) -> None:
    engine = open_again()
    assert set(inspect(engine).get_table_names()) == METADATA.tables.keys()
    assert version(engine) == version(open_again()) == [1]


def test_migrations_run_once_and_in_order(open_again: Callable[[], Engine], database_url: str) -> None:
    first = open_again()
    KeyStore(first).create("web", ["embed"])
    for count in (1, 2, 2):
        engine = open_database(database_url, migrations=MIGRATIONS[:count])
        with engine.connect() as connection:
            assert connection.execute(text("SELECT note FROM keys")).scalar() == ("first", "second")[count - 1]
        assert version(engine) == [1 + count]
        engine.dispose()


def test_a_new_database_needs_no_migration(database_url: str) -> None:
    engine = open_database(database_url, migrations=(("UPDATE nothing SET x = 1",),))
    assert version(engine) == [2]
    engine.dispose()


def test_a_migration_that_fails_changes_nothing(open_again: Callable[[], Engine], database_url: str) -> None:
    before = described(open_again())
    with pytest.raises(StoreError):
        open_database(database_url, migrations=(("ALTER TABLE keys ADD COLUMN note VARCHAR(20)", "broken"),))
    assert described(open_again()) == before
    assert version(open_again()) == [1]


def test_a_database_of_version_0_1_is_taken_over_with_its_keys(open_again: Callable[[], Engine]) -> None:
    engine = open_again()
    new = described(engine)
    key, secret = KeyStore(engine).create("web", ["embed"])
    as_of_0_1(engine)
    again = open_again()
    assert described(again) == new
    assert version(again) == [1]
    assert KeyStore(again).find(secret) == key


def test_the_file_of_version_0_1_has_the_tables_of_a_new_one(tmp_path: Path) -> None:
    shutil.copy(DATABASE_0_1, tmp_path / "old.db")
    old, new = (open_database(f"sqlite:///{tmp_path / name}") for name in ("old.db", "new.db"))
    assert described(old) == described(new)
    for engine in (old, new):
        engine.dispose()


def test_services_that_start_at_once_on_an_old_database_take_turns(
    open_again: Callable[[], Engine], database_url: str
) -> None:
    first = open_again()
    _, secret = KeyStore(first).create("web", ["embed"])
    as_of_0_1(first)
    with ThreadPoolExecutor(4) as pool:
        engines = list(pool.map(lambda _: open_database(database_url, migrations=MIGRATIONS), range(4)))
    assert [version(engine) for engine in engines] == [[3]] * 4
    assert all(KeyStore(engine).find(secret) for engine in engines)
    for engine in engines:
        engine.dispose()


def test_a_database_of_a_newer_or_unknown_version_is_refused(
    open_again: Callable[[], Engine], database_url: str
) -> None:
    engine = open_again()
    with engine.begin() as connection:
        connection.execute(VERSION.update().values(version=7))
    with pytest.raises(StoreError, match="schema version is 7"):
        open_database(database_url)
    as_of_0_1(engine, "0002")
    with pytest.raises(StoreError, match="schema version"):
        open_database(database_url)
    assert "alembic_version" in inspect(engine).get_table_names()


def test_the_version_table_of_another_program_is_left_alone(database_url: str) -> None:
    other = create_engine(database_url.replace("postgresql:", "postgresql+psycopg:"))
    with other.begin() as connection:
        connection.execute(text("CREATE TABLE alembic_version (version_num VARCHAR(32) NOT NULL PRIMARY KEY)"))
        connection.execute(text("INSERT INTO alembic_version VALUES ('abc')"))
    engine = open_database(database_url)
    with engine.connect() as connection:
        assert connection.execute(text("SELECT version_num FROM alembic_version")).scalar() == "abc"
    assert version(engine) == [1]
    engine.dispose()
    other.dispose()


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
