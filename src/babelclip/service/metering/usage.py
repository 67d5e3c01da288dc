"""Sums of the ledger as replies, exports and tables have them."""

import csv
import io
from typing import Any

from babelclip.errors import InputError
from babelclip.service.metering.ledger import Grouping, Usage
from babelclip.service.metering.prices import dollars, microdollars

COLUMNS = ("requests", "tokens", "images", "bytes", "milliseconds", "cost_microdollars", "cost_dollars")


def read_groups(by: str) -> list[Grouping]:
    """What usage is summed by.

    :param by: of key, day and model, parted by commas
    :return: in that order
    :raises InputError: if it is something else
    """
    asked = {name.strip() for name in by.split(",") if name.strip()}
    known: tuple[Grouping, ...] = ("key", "day", "model")
    if asked - set(known):
        raise InputError(f"usage is summed by key, day and model, parted by commas, not by {by!r}")
    return [name for name in known if name in asked]


def usage_row(row: Usage, groups: list[Grouping]) -> dict[str, Any]:
    """A sum as replies and exports have it.

    :param row: the sum
    :param groups: what it is parted by
    :return: the cells by name
    """
    names = {"key": row.key_id, "day": row.day, "model": row.model}
    amounts = {name: getattr(row, name) for name in COLUMNS[:5]}
    cost = {"cost_microdollars": microdollars(row.picodollars), "cost_dollars": dollars(row.picodollars)}
    return {**{name: names[name] for name in groups}, **amounts, **cost}


def usage_csv(rows: list[dict[str, Any]], groups: list[Grouping]) -> str:
    """Sums as CSV.

    :param rows: of usage_row
    :param groups: what they are parted by
    :return: the text, with a heading
    """
    text = io.StringIO()
    writer = csv.DictWriter(text, [*groups, *COLUMNS], lineterminator="\n")
    writer.writeheader()
    writer.writerows(rows)
    return text.getvalue()
