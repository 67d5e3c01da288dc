"""Tables of API keys and ledger, their migrations, and opening of the database: SQLite by default, or PostgreSQL."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

from sqlalchemy import (
    BigInteger,
    Column,
    Connection,
    Engine,
    Index,
    Integer,
    LargeBinary,
    MetaData,
    String,
    Table,
    create_engine,
    event,
    inspect,
    select,
    text,
)
from sqlalchemy.engine import make_url
from sqlalchemy.exc import ArgumentError, NoSuchModuleError, SQLAlchemyError

from babelclip.errors import InputError, MissingDependencyError, StoreError

BUSY_TIMEOUT_MS = 30_000

METADATA = MetaData()

KEYS = Table(
    "keys",
    METADATA,
    Column("id", String(16), primary_key=True),
    Column("name", String(200), nullable=False),
    Column("hash", LargeBinary(32), nullable=False),
    Column("scopes", String(200), nullable=False),
    Column("created_ms", BigInteger, nullable=False),
    Column("expires_ms", BigInteger),
    Column("revoked_ms", BigInteger),
    Column("requests_per_minute", Integer),
    Column("tokens_per_minute", Integer),
    Column("tokens_per_day", BigInteger),
    Column("picodollars_per_month", BigInteger),
)
"""API keys. ``hash`` is the sha256 of the secret; times are milliseconds since 1970."""

LEDGER = Table(
    "ledger",
    METADATA,
    Column("request_id", String(40), primary_key=True),
    Column("key_id", String(16), nullable=False),
    Column("at_ms", BigInteger, nullable=False),
    Column("day", String(10), nullable=False),
    Column("model", String(200), nullable=False),
    Column("route", String(40), nullable=False),
    Column("tokens", BigInteger, nullable=False),
    Column("images", BigInteger, nullable=False),
    Column("bytes", BigInteger, nullable=False),
    Column("milliseconds", BigInteger, nullable=False),
    Column("picodollars", BigInteger, nullable=False),
    Index("ledger_by_day", "day", "key_id"),
)
"""One row for each answered request. ``day`` is YYYY-MM-DD in UTC; ``bytes`` is the size of the request body."""

TOTALS = Table(
    "totals",
    METADATA,
    Column("key_id", String(16), primary_key=True),
    Column("day", String(10), primary_key=True),
    Column("model", String(200), primary_key=True),
    Column("requests", BigInteger, nullable=False),
    Column("tokens", BigInteger, nullable=False),
    Column("images", BigInteger, nullable=False),
    Column("bytes", BigInteger, nullable=False),
    Column("milliseconds", BigInteger, nullable=False),
    Column("picodollars", BigInteger, nullable=False),
)
"""Sums of the ledger, written in the same transaction, so that quotas and reports need not read all entries."""


VERSION = Table("schema_version", METADATA, Column("version", Integer, primary_key=True))
"""One row: the number of migrations that the database has had, from 1 for the tables of 0.1."""

MIGRATIONS: tuple[Sequence[str], ...] = ()
"""SQL statements from version 1 to 2, from 2 to 3, ...; a released migration never changes. The tables above have them
all, so that a new database needs none.
"""

ALEMBIC = Table("alembic_version", MetaData(), Column("version_num", String(32), primary_key=True))
"""Where databases of 0.1 kept their version; replaced by schema_version when they are opened."""
ALEMBIC_VERSION = "0001"

LOCK = 0x62636C70
"""Id of the advisory lock in PostgreSQL."""


def open_database(url: str, *, migrations: Sequence[Sequence[str]] = MIGRATIONS) -> Engine:
    """Open the database, creating its tables or migrating them to the newest version.

    :param url: a SQLAlchemy URL: ``sqlite:///FILE`` or ``postgresql://USER@HOST/NAME``
    :param migrations: the SQL statements of each migration
    :return: the engine
    :raises InputError: if the URL is invalid
    :raises MissingDependencyError: if the driver is not installed
    :raises StoreError: if the database cannot be used, or was written by a newer version
    """
    engine = _engine(url)
    newest = 1 + len(migrations)
    try:
        with engine.connect() as connection:
            tables = inspect(connection).get_table_names()
            version = connection.scalar(select(VERSION.c.version)) if VERSION.name in tables else None
        if version != newest:
            with engine.begin() as connection:
                _lock(connection)
                _migrate(connection, migrations)
    except (SQLAlchemyError, OSError, StoreError) as error:
        engine.dispose()
        raise StoreError(f"the database {engine.url!r} cannot be used: {first_line(error)}") from None
    return engine


def _lock(connection: Connection) -> None:
    """Let no other process change the tables until the transaction ends, and wait until none does."""
    if connection.dialect.name == "postgresql":
        connection.execute(text(f"SELECT pg_advisory_xact_lock({LOCK})"))
    else:
        connection.exec_driver_sql("BEGIN IMMEDIATE")


def _migrate(connection: Connection, migrations: Sequence[Sequence[str]]) -> None:
    """Create the tables or migrate them to the newest version, unless another process just did."""
    newest = 1 + len(migrations)
    tables = inspect(connection).get_table_names()
    if not METADATA.tables.keys() & set(tables):
        METADATA.create_all(connection, checkfirst=False)
        connection.execute(VERSION.insert().values(version=newest))
        return
    if VERSION.name in tables:
        version = connection.scalar(select(VERSION.c.version))
    else:
        version = _adopt_alembic(connection, tables)
    if version is None or not 1 <= version <= newest:
        raise StoreError(f"its schema version is {version}, and this babelclip reads up to {newest}; update babelclip")
    for statements in migrations[version - 1 :]:
        for statement in statements:
            connection.exec_driver_sql(statement)
    connection.execute(VERSION.update().values(version=newest))


def _adopt_alembic(connection: Connection, tables: Sequence[str]) -> int | None:
    """Replace the version table of a database of 0.1; the version, if the database is one."""
    if ALEMBIC.name not in tables or connection.scalar(select(ALEMBIC.c.version_num)) != ALEMBIC_VERSION:
        return None
    VERSION.create(connection)
    connection.execute(VERSION.insert().values(version=1))
    ALEMBIC.drop(connection)
    return 1


def first_line(error: Exception) -> str:
    """Get the message of a database error without statement and values.

    :param error: the error
    :return: the first line of its message
    """
    cause = getattr(error, "orig", None) or error
    return str(cause).strip().partition("\n")[0]


def _engine(url: str) -> Engine:
    """The engine of a URL; SQLite is set up for several threads and processes."""
    try:
        parsed = make_url(url)
        name = parsed.get_backend_name()
        if name not in ("sqlite", "postgresql"):
            raise InputError(f"BABELCLIP_DATABASE_URL has the unknown scheme {name}; use sqlite or postgresql")
        if name == "postgresql" and "+" not in parsed.drivername:
            parsed = parsed.set(drivername="postgresql+psycopg")
        if name == "sqlite" and parsed.database:
            Path(parsed.database).parent.mkdir(parents=True, exist_ok=True)
        engine = create_engine(parsed, pool_pre_ping=name == "postgresql")
    except (ArgumentError, NoSuchModuleError):
        # The URL may hold a password, and is not repeated.
        raise InputError(
            "BABELCLIP_DATABASE_URL is not a URL such as sqlite:///FILE or postgresql://HOST/NAME"
        ) from None
    except ModuleNotFoundError:
        raise MissingDependencyError("psycopg", "postgres") from None
    if name == "sqlite":
        event.listen(engine, "connect", _prepare_sqlite)
    return engine


def _prepare_sqlite(connection: Any, _record: Any) -> None:
    """Use a write-ahead log: readers do not wait for the writer, and commits survive the end of the process."""
    cursor = connection.cursor()
    for pragma in (f"busy_timeout={BUSY_TIMEOUT_MS}", "journal_mode=WAL", "synchronous=NORMAL"):
        cursor.execute(f"PRAGMA {pragma}")
    cursor.close()
