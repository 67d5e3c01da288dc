"""Usage: sums of the ledger as responses, exports and tables show them."""

import csv
import io
from typing import Any

from babelclip.errors import InputError
from babelclip.service.metering.ledger import Grouping, Usage
from babelclip.service.metering.prices import dollars, microdollars

COLUMNS = ("requests", "tokens", "images", "bytes", "milliseconds", "cost_microdollars", "cost_dollars")


def read_groups(by: str) -> list[Grouping]:
    """Parse the groups that usage is summed by.

    :param by: any of key, day and model, separated by commas
    :return: the groups in that order
    :raises InputError: if there is another
    """
    names = {name.strip() for name in by.split(",") if name.strip()}
    known: tuple[Grouping, ...] = ("key", "day", "model")
    if names - set(known):
        raise InputError(f"usage cannot be grouped by {by!r}; use any of key, day and model, separated by commas")
    return [name for name in known if name in names]


def usage_row(row: Usage, groups: list[Grouping]) -> dict[str, Any]:
    """Format a sum for responses and exports.

    :param row: the sum
    :param groups: the groups of the sum
    :return: column -> value
    """
    values = {"key": row.key_id, "day": row.day, "model": row.model}
    amounts = {name: getattr(row, name) for name in COLUMNS[:5]}
    cost = {"cost_microdollars": microdollars(row.picodollars), "cost_dollars": dollars(row.picodollars)}
    return {**{name: values[name] for name in groups}, **amounts, **cost}


def usage_csv(rows: list[dict[str, Any]], groups: list[Grouping]) -> str:
    """Format sums as CSV.

    :param rows: rows from ``usage_row``
    :param groups: the groups of the sums
    :return: CSV with a header
    """
    text = io.StringIO()
    writer = csv.DictWriter(text, [*groups, *COLUMNS], lineterminator="\n")
    writer.writeheader()
    writer.writerows(rows)
    return text.getvalue()
