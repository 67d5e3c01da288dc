"""The tables of accounts and ledger, and how their database is opened: SQLite by default, PostgreSQL by URL."""

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
MIGRATIONS = Path(__file__).parent / "migrations"
NEWEST = "0001"
"""The revision of the last migration."""

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
"""Who may do what. ``hash`` is the sha256 of the secret; times are milliseconds since 1970."""

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
"""One row for each answered request. ``day`` is UTC's, YYYY-MM-DD; ``bytes`` is the length of the request's body."""

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
"""Sums of the ledger, written in the same transaction, so that quotas and reports need not read all of it."""


VERSION = Table("alembic_version", MetaData(), Column("version_num", String(32), primary_key=True))
"""What alembic keeps of a database: the migration that it is at."""

LOCK = 0x62636C70
"""Of PostgreSQL's advisory locks."""


def open_database(url: str) -> Engine:
    """Open the database, and bring its tables up to date.

    :param url: SQLAlchemy's; ``sqlite:///FILE`` or ``postgresql://USER@HOST/NAME``
    :return: the engine
    :raises InputError: if it is no such URL
    :raises MissingDependencyError: if the driver is not installed
    :raises StoreError: if the database cannot be used
    """
    engine = _engine(url)
    try:
        with engine.connect() as connection:
            found = _revision(connection)
        if found is None:
            found = _make(engine)
        if found != NEWEST:
            _migrate(engine)
    except (SQLAlchemyError, OSError) as error:
        engine.dispose()
        raise StoreError(f"the database {engine.url!r} cannot be used: {first_line(error)}") from None
    return engine


def _revision(connection: Connection) -> str | None:
    """The migration that a database is at, if it is at one."""
    if not inspect(connection).has_table("alembic_version"):
        return None
    found: str | None = connection.scalar(select(VERSION.c.version_num))
    return found


def take_turns(connection: Connection) -> None:
    """Let no other service change the tables until the transaction ends, nor this one while another does.

    :param connection: in a transaction that has done nothing yet
    """
    if connection.dialect.name == "postgresql":
        connection.execute(text(f"SELECT pg_advisory_xact_lock({LOCK})"))
    else:
        connection.exec_driver_sql("BEGIN IMMEDIATE")


def _make(engine: Engine) -> str | None:
    """Make the tables of a database that has none, as all migrations would; the migration that it is at then."""
    with engine.begin() as connection:
        take_turns(connection)
        found = _revision(connection)
        names = inspect(connection).get_table_names()
        if found is None and not METADATA.tables.keys() & set(names):
            METADATA.create_all(connection, checkfirst=False)
            VERSION.metadata.create_all(connection)
            connection.execute(VERSION.insert().values(version_num=NEWEST))
            found = NEWEST
        return found


def _migrate(engine: Engine) -> None:
    """Bring older tables up to date. What does that is imported only here: it takes 11 MiB and a sixth of a second."""
    from alembic import command
    from alembic.config import Config

    config = Config()
    config.set_main_option("script_location", str(MIGRATIONS))
    with engine.begin() as connection:
        config.attributes["connection"] = connection
        command.upgrade(config, "head")


def first_line(error: Exception) -> str:
    """What an error of the database says, without statement and values.

    :param error: the error
    :return: its first line
    """
    cause = getattr(error, "orig", None) or error
    return str(cause).strip().partition("\n")[0]


def _engine(url: str) -> Engine:
    """The engine of a URL, with what SQLite needs to be shared by threads and processes."""
    try:
        parsed = make_url(url)
        name = parsed.get_backend_name()
        if name not in ("sqlite", "postgresql"):
            raise InputError(f"BABELCLIP_DATABASE_URL: {name} is not known; known are sqlite and postgresql")
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
    """Write-ahead log: readers do not wait for the writer, and a commit survives the end of the process."""
    cursor = connection.cursor()
    for pragma in (f"busy_timeout={BUSY_TIMEOUT_MS}", "journal_mode=WAL", "synchronous=NORMAL"):
        cursor.execute(f"PRAGMA {pragma}")
    cursor.close()
