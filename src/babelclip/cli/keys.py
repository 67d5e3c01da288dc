"""babelclip keys, usage: who may use the service, and what was used."""

import re
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import asdict, replace
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, Annotated, Any, TypeVar

import typer

from babelclip.cli import output
from babelclip.cli.options import AsJson
from babelclip.errors import InputError
from babelclip.settings import service_settings

if TYPE_CHECKING:
    from sqlalchemy import Engine

    from babelclip.service.metering.keys import Key, KeyLimits

APP = typer.Typer(help="Keys of the service.", no_args_is_help=True)
BY_DEFAULT = ["embed", "classify", "search"]
SUMS = ("requests", "tokens", "images", "bytes", "milliseconds", "cost_dollars")

Book = TypeVar("Book")

KeyId = Annotated[
    str, typer.Argument(metavar="ID", help="Id of the key: eight digits, listed by `babelclip keys list`.")
]
RequestsPerMinute = Annotated[int | None, typer.Option(min=0, help="0 is unlimited.")]
TokensPerMinute = Annotated[int | None, typer.Option(min=0, help="0 is unlimited.")]
TokensPerDay = Annotated[int | None, typer.Option(min=0, help="Per day in UTC. 0 is unlimited.")]
DollarsPerMonth = Annotated[str | None, typer.Option(help="Per calendar month in UTC. 0 is unlimited.")]


@APP.command()
def create(
    name: Annotated[str, typer.Argument(help="Name of the key.")],
    scope: Annotated[
        list[str] | None, typer.Option(help="embed, classify, search or admin. Repeatable. [default: all but admin]")
    ] = None,
    expires: Annotated[
        str | None, typer.Option(help="Expiry: a duration such as 30d or 12h, or a day such as 2027-01-31.")
    ] = None,
    requests_per_minute: RequestsPerMinute = None,
    tokens_per_minute: TokensPerMinute = None,
    tokens_per_day: TokensPerDay = None,
    dollars_per_month: DollarsPerMonth = None,
    json: AsJson = False,
) -> None:
    """Create a key and print its secret, once, on stdout."""
    from babelclip.service.metering.keys import KeyLimits, KeyStore

    limits = _limits(KeyLimits(), requests_per_minute, tokens_per_minute, tokens_per_day, dollars_per_month)
    ends = None if expires is None else _moment(expires)
    with _opened(KeyStore) as store:
        key, secret = store.create(name, scope or BY_DEFAULT, expires_ms=ends, limits=limits)
    if json:
        output.json_line({**_shown(key), "secret": secret})
    else:
        output.message(f"The key {key.id} may {', '.join(key.scopes)}. Its secret is shown this once:")
        output.line(secret)


@APP.command("list")
def show(json: AsJson = False) -> None:
    """List the keys, without their secrets."""
    from babelclip.service.metering.keys import KeyStore

    with _opened(KeyStore) as store:
        keys = [_shown(key) for key in store.all()]
    if json:
        for key in keys:
            output.json_line(key)
        return
    columns = ("id", "name", "state", "scopes", "expires", "req/min#", "tok/min#", "tok/day#", "$/month#")
    output.table(columns, [[_cell(value) for name, value in key.items() if name != "created"] for key in keys])


@APP.command()
def revoke(key_id: KeyId, json: AsJson = False) -> None:
    """Revoke a key; running services notice within two seconds."""
    from babelclip.service.metering.keys import KeyStore

    with _opened(KeyStore) as store:
        key = store.revoke(key_id)
    if json:
        output.json_line(_shown(key))
    else:
        output.line(f"The key {key.id} ({key.name}) is revoked.")


@APP.command()
def limit(
    key_id: KeyId,
    requests_per_minute: RequestsPerMinute = None,
    tokens_per_minute: TokensPerMinute = None,
    tokens_per_day: TokensPerDay = None,
    dollars_per_month: DollarsPerMonth = None,
    json: AsJson = False,
) -> None:
    """Change the limits of a key; those that are not given stay."""
    from babelclip.service.metering.keys import KeyStore

    with _opened(KeyStore) as store:
        before = store.get(key_id).limits
        limits = _limits(before, requests_per_minute, tokens_per_minute, tokens_per_day, dollars_per_month)
        key = store.limit(key_id, limits)
    if json:
        output.json_line(_shown(key))
    else:
        shown = [f"{name} {value}" for name, value in _shown(key).items() if "_per_" in name and value is not None]
        output.line(f"The key {key.id} ({key.name}): {', '.join(shown) or 'no limits'}")


def usage(
    by: Annotated[str, typer.Option(help="Group by any of key, day and model, separated by commas.")] = "key,day,model",
    since: Annotated[str, typer.Option(help="The first day, as 2026-01-31, UTC.")] = "",
    until: Annotated[str, typer.Option(help="The last day.")] = "",
    key: Annotated[str | None, typer.Option(help="Only this key: its eight digits.")] = None,
    rows: Annotated[
        bool, typer.Option("--rows", help="Print the ledger, one row per request: CSV, or --json.")
    ] = False,
    as_csv: Annotated[bool, typer.Option("--csv", help="Print CSV on stdout.")] = False,
    json: AsJson = False,
) -> None:
    """Print usage and cost."""
    from babelclip.service.metering.ledger import Ledger
    from babelclip.service.metering.prices import dollars
    from babelclip.service.metering.usage import COLUMNS, read_groups, usage_row

    if json and as_csv:
        raise typer.BadParameter("give --json or --csv, not both")
    groups = read_groups(by)
    with _opened(Ledger) as ledger:
        if rows:
            entries = ledger.rows(since=since, until=until, key_id=key)
            _write(({**asdict(one), "cost_dollars": dollars(one.picodollars)} for one in entries), as_json=json)
            return
        sums = [usage_row(row, groups) for row in ledger.usage(groups, since=since, until=until, key_id=key)]
    if json or as_csv:
        _write(iter(sums), as_json=json, columns=(*groups, *COLUMNS))
        return
    table = [[_cell(row[name]) for name in (*groups, *SUMS)] for row in sums]
    output.table([*groups, *(f"{name.replace('_', ' ')}#" for name in SUMS)], table)
    if not table:
        output.message("nothing was used yet")


@contextmanager
def _opened(kind: Callable[["Engine"], Book]) -> Iterator[Book]:
    """KeyStore or Ledger over the database of the settings, which is let go afterwards."""
    from babelclip.service.metering.tables import open_database

    engine = open_database(service_settings().database_url)
    try:
        yield kind(engine)
    finally:
        engine.dispose()


def _limits(
    before: "KeyLimits", requests: int | None, minute: int | None, day: int | None, month: str | None
) -> "KeyLimits":
    """The limits with what was given; 0 takes one away."""
    from babelclip.service.metering.prices import picodollars

    given = {
        "requests_per_minute": requests,
        "tokens_per_minute": minute,
        "tokens_per_day": day,
        "picodollars_per_month": None if month is None else picodollars(month),
    }
    return replace(before, **{name: value or None for name, value in given.items() if value is not None})


def _moment(text: str) -> int:
    """When a key ends, in milliseconds since 1970."""
    now = datetime.now(UTC)
    span = re.fullmatch(r"(\d{1,5})([dh])", text)
    try:
        if span:
            moment = now + timedelta(hours=int(span[1]) * (24 if span[2] == "d" else 1))
        else:
            moment = datetime.strptime(text, "%Y-%m-%d").replace(tzinfo=UTC)
    except ValueError:
        raise InputError(f"{text!r} is not a time such as 30d, 12h or 2027-01-31") from None
    if moment <= now:
        raise InputError(f"{text!r} is over already")
    return int(moment.timestamp() * 1000)


def _shown(key: "Key") -> dict[str, Any]:
    """A key as lists have it."""
    from babelclip.service.metering.prices import dollars

    month = key.limits.picodollars_per_month
    return {
        "id": key.id,
        "name": key.name,
        "state": key.state,
        "scopes": list(key.scopes),
        "created": _time(key.created_ms),
        "expires": None if key.expires_ms is None else _time(key.expires_ms),
        "requests_per_minute": key.limits.requests_per_minute,
        "tokens_per_minute": key.limits.tokens_per_minute,
        "tokens_per_day": key.limits.tokens_per_day,
        "dollars_per_month": None if month is None else dollars(month),
    }


def _time(at_ms: int) -> str:
    return datetime.fromtimestamp(at_ms / 1000, UTC).isoformat(timespec="seconds")


def _cell(value: object) -> str:
    if isinstance(value, list):
        return ", ".join(map(str, value))
    return "" if value is None else str(value)


def _write(rows: Iterator[dict[str, Any]], *, as_json: bool, columns: Sequence[str] = ()) -> None:
    """Rows as they come, as JSON lines or CSV."""
    if columns and not as_json:
        output.csv_line(columns)
    for place, row in enumerate(rows):
        if as_json:
            output.json_line(row)
            continue
        if place == 0 and not columns:
            output.csv_line(list(row))
        output.csv_line(list(row.values()))
