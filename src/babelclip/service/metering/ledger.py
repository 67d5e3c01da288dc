"""The ledger: one entry for each answered request, committed before its response is sent.

One thread commits all queued entries together; while it commits, the next ones queue. Entries that are recorded in the
same iteration of the event loop are queued together. So a single request waits for one commit, and the requests of a
batch share one. The request id is the primary key, and ``totals`` adds only entries that were inserted: an entry that
is written twice counts once.
"""

import asyncio
import importlib
import queue
import threading
import time
from collections import defaultdict
from collections.abc import Collection, Iterator, Sequence
from dataclasses import asdict, dataclass
from datetime import UTC, datetime
from typing import Any, Literal

from sqlalchemy import ColumnElement, Connection, Engine, Table, case, func, literal, select, union_all
from sqlalchemy.exc import SQLAlchemyError

from babelclip.errors import InputError, StoreError
from babelclip.service.metering.tables import LEDGER, TOTALS, first_line

MAX_ENTRIES = 500
ATTEMPTS = 3
PAUSE_SECONDS = 0.1
EXPORT_ROWS = 1000
AMOUNTS = ("tokens", "images", "bytes", "milliseconds", "picodollars")

Grouping = Literal["key", "day", "model"]


@dataclass(frozen=True, slots=True)
class LedgerEntry:
    """A row of the ledger, with the columns of tables.LEDGER."""

    request_id: str
    key_id: str
    at_ms: int
    day: str
    model: str
    route: str
    tokens: int
    images: int
    bytes: int
    milliseconds: int
    picodollars: int


@dataclass(frozen=True, slots=True)
class Usage:
    """Sums of ledger entries; key_id, day and model are "" where they are not grouped by."""

    key_id: str
    day: str
    model: str
    requests: int
    tokens: int
    images: int
    bytes: int
    milliseconds: int
    picodollars: int


@dataclass(frozen=True, slots=True)
class Spent:
    """What a key has used by the ledger: tokens of a day, picodollars of its month; and the requests asked about that
    are in these sums.
    """

    tokens: int
    picodollars: int
    request_ids: frozenset[str]


def day_of(at_ms: int) -> str:
    """Convert a time to a day in UTC.

    :param at_ms: milliseconds since 1970
    :return: YYYY-MM-DD
    """
    return datetime.fromtimestamp(at_ms / 1000, UTC).date().isoformat()


def check_day(day: str) -> str:
    """Validate a day.

    :param day: YYYY-MM-DD
    :return: the same day
    :raises InputError: if it is not a day
    """
    try:
        if len(day) == len("2000-01-01"):
            datetime.strptime(day, "%Y-%m-%d")
            return day
    except ValueError:
        pass
    raise InputError(f"{day!r} is not a day of the form 2026-01-31")


_Waiting = list[tuple[LedgerEntry, "asyncio.Future[None]"]]
_Batch = tuple[asyncio.AbstractEventLoop, _Waiting]


class Ledger:
    """The ledger of a database. Reading needs no ``start``; writing does."""

    def __init__(self, engine: Engine) -> None:
        """Use a database.

        :param engine: an engine from ``tables.open_database``
        """
        self._engine = engine
        self._queue: queue.SimpleQueue[_Batch | None] = queue.SimpleQueue()
        self._pending: dict[asyncio.AbstractEventLoop, _Waiting] = {}
        self._thread: threading.Thread | None = None

    def start(self) -> None:
        """Start the writer thread."""
        self._thread = threading.Thread(target=self._write_all, name="babelclip-ledger", daemon=True)
        self._thread.start()

    def close(self) -> None:
        """Write the queued entries, and end the thread."""
        if self._thread is not None:
            self._queue.put(None)
            self._thread.join()
            self._thread = None

    async def record(self, entry: LedgerEntry) -> None:
        """Write an entry, and return when it is committed.

        :param entry: the entry
        :raises StoreError: if the database cannot be written
        """
        loop = asyncio.get_running_loop()
        done: asyncio.Future[None] = loop.create_future()
        pending = self._pending.setdefault(loop, [])
        if not pending:
            loop.call_soon(self._enqueue, loop)
        pending.append((entry, done))
        await done

    def usage(
        self, by: Sequence[Grouping], *, since: str = "", until: str = "", key_id: str | None = None
    ) -> list[Usage]:
        """Sum the ledger by key, day and model.

        :param by: the groups
        :param since: first day, or "" for no bound
        :param until: last day, or "" for no bound
        :param key_id: id of a key, or None for all keys
        :return: the sums, sorted by key, day and model
        :raises StoreError: if the database cannot be read
        """
        groups = [column for column, name in _GROUPS.items() if name in by]
        columns = [TOTALS.c[column] for column in groups]
        sums = [func.sum(TOTALS.c[name]).label(name) for name in ("requests", *AMOUNTS)]
        chosen = _conditions(TOTALS, since, until, key_id)
        statement = select(*columns, *sums).where(*chosen).group_by(*columns).order_by(*columns)
        statement = statement.having(func.count() > 0)
        try:
            with self._engine.connect() as connection:
                rows = connection.execute(statement).mappings().all()
        except SQLAlchemyError as error:
            raise StoreError(f"usage cannot be read: {first_line(error)}") from None
        names = ("requests", *AMOUNTS)
        return [
            # PostgreSQL sums to Decimal.
            Usage(*(row.get(group, "") for group in _GROUPS), *(int(row[name]) for name in names))
            for row in rows
        ]

    def spent(self, key_id: str, today: str, request_ids: Collection[str]) -> Spent:
        """Sum what a key has used today and this month, and tell which requests are in these sums.

        :param key_id: of the key
        :param today: YYYY-MM-DD
        :param request_ids: requests whose rows may or may not be written yet
        :return: the sums, and those of the requests that they include, as of one moment
        :raises StoreError: if the database cannot be read
        """
        tokens = case((TOTALS.c.day == today, TOTALS.c.tokens), else_=0)
        sums = select(
            literal("").label("request_id"),
            func.coalesce(func.sum(tokens), 0).label("tokens"),
            func.coalesce(func.sum(TOTALS.c.picodollars), 0).label("picodollars"),
        ).where(TOTALS.c.key_id == key_id, TOTALS.c.day >= month_start(today))
        zero = literal(0)
        written = select(LEDGER.c.request_id, zero, zero).where(LEDGER.c.request_id.in_(request_ids))
        try:
            with self._engine.connect() as connection:
                # One statement, so that both parts see the same moment on every database.
                rows = connection.execute(union_all(sums, written)).all()
        except SQLAlchemyError as error:
            raise StoreError(f"usage cannot be read: {first_line(error)}") from None
        (total,) = (row for row in rows if not row[0])
        return Spent(int(total[1]), int(total[2]), frozenset(row[0] for row in rows if row[0]))

    def rows(self, *, since: str = "", until: str = "", key_id: str | None = None) -> Iterator[LedgerEntry]:
        """Iterate over ledger entries, in constant memory.

        :param since: first day, or "" for no bound
        :param until: last day, or "" for no bound
        :param key_id: id of a key, or None for all keys
        :yield: entries, sorted by day and request
        :raises StoreError: if the database cannot be read
        """
        chosen = _conditions(LEDGER, since, until, key_id)
        statement = select(LEDGER).where(*chosen).order_by(LEDGER.c.day, LEDGER.c.request_id)
        try:
            with self._engine.connect() as connection:
                streamed = connection.execution_options(yield_per=EXPORT_ROWS).execute(statement)
                for row in streamed.mappings():
                    yield LedgerEntry(**row)
        except SQLAlchemyError as error:
            raise StoreError(f"the ledger cannot be read: {first_line(error)}") from None

    def _enqueue(self, loop: asyncio.AbstractEventLoop) -> None:
        self._queue.put((loop, self._pending.pop(loop)))

    def _write_all(self) -> None:
        """Write queued entries in the thread, until None is queued."""
        going = True
        while going:
            batches = [self._queue.get()]
            while (
                not self._queue.empty() and sum(len(batch[1]) for batch in batches if batch is not None) < MAX_ENTRIES
            ):
                batches.append(self._queue.get())
            taken = [batch for batch in batches if batch is not None]
            going = len(taken) == len(batches)
            if not taken:
                continue
            error = self._write([entry for _, waiting in taken for entry, _ in waiting])
            for loop, waiting in taken:
                if not loop.is_closed():
                    loop.call_soon_threadsafe(_resolve, [future for _, future in waiting], error)

    def _write(self, entries: list[LedgerEntry]) -> StoreError | None:
        """Commit entries; retry if the database is unavailable for a moment."""
        for attempt in range(ATTEMPTS):
            try:
                with self._engine.begin() as connection:
                    insert_entries(connection, entries)
                return None
            except SQLAlchemyError as error:
                last = error
                time.sleep(PAUSE_SECONDS * attempt)
        return StoreError(f"the ledger cannot be written: {first_line(last)}")


_GROUPS = {"key_id": "key", "day": "day", "model": "model"}


def _resolve(futures: list["asyncio.Future[None]"], error: StoreError | None) -> None:
    """Resolve the futures of waiting requests; some may be cancelled."""
    for future in futures:
        if not future.done():
            future.set_result(None) if error is None else future.set_exception(error)


def _conditions(table: Table, since: str, until: str, key_id: str | None) -> list[ColumnElement[bool]]:
    """Conditions on the days and key of a table."""
    conditions = []
    if since:
        conditions.append(table.c.day >= check_day(since))
    if until:
        conditions.append(table.c.day <= check_day(until))
    if key_id is not None:
        conditions.append(table.c.key_id == key_id)
    return conditions


def insert_entries(connection: Connection, entries: list[LedgerEntry]) -> None:
    """Insert entries that are not in the ledger yet, and add them to the totals.

    :param connection: a connection in a transaction
    :param entries: the entries
    """
    # The dialect of this database is loaded already; the other one takes 2 MiB.
    build: Any = importlib.import_module(f"sqlalchemy.dialects.{connection.dialect.name}").insert
    rows = build(LEDGER).on_conflict_do_nothing().returning(LEDGER.c.request_id)
    inserted = {row[0] for row in connection.execute(rows, [asdict(entry) for entry in entries])}
    sums: dict[tuple[str, str, str], list[int]] = defaultdict(lambda: [0] * (1 + len(AMOUNTS)))
    for entry in entries:
        if entry.request_id in inserted:
            total = sums[entry.key_id, entry.day, entry.model]
            total[0] += 1
            for place, name in enumerate(AMOUNTS, 1):
                total[place] += getattr(entry, name)
    if not sums:
        return
    upsert = build(TOTALS)
    names = ("requests", *AMOUNTS)
    upsert = upsert.on_conflict_do_update(
        index_elements=["key_id", "day", "model"],
        set_={name: TOTALS.c[name] + upsert.excluded[name] for name in names},
    )
    # Sorted, so that two services never deadlock.
    connection.execute(
        upsert,
        [
            {"key_id": key, "day": day, "model": model, **dict(zip(names, total, strict=True))}
            for (key, day, model), total in sorted(sums.items())
        ],
    )


def month_start(day: str) -> str:
    """Get the first day of a month.

    :param day: YYYY-MM-DD
    :return: YYYY-MM-01
    """
    return day[:8] + "01"
