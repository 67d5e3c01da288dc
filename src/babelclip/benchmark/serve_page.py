"""A report on the service under load, as tables and as a Markdown page."""

from collections.abc import Callable

from babelclip.benchmark.figures import Spread
from babelclip.benchmark.load import Load
from babelclip.benchmark.machine import machine_lines
from babelclip.benchmark.serve import CLIENTS, MOST_TAIL, OFFLINE_TEXTS, ServeReport, ServeRound, Stood
from babelclip.benchmark.speed_page import ends, number, table

MILLISECONDS = 1e3
BAR_COLUMNS = ("measure", "threshold#", "reached (lowest to highest)#", "met")
SERVER_COLUMNS = ("", "the model alone#", "babelclip serve#", "plain server#")


def bar_rows(report: ServeReport) -> list[tuple[str, ...]]:
    """Every bar beside what was reached.

    :param report: the report
    :return: rows under BAR_COLUMNS
    """
    return [(what, f"{limit:g}", _reached(got), "yes" if met else "NO") for what, limit, got, met in report.bars()]


def server_rows(report: ServeReport) -> list[tuple[str, ...]]:
    """What one client and many saw of each server; the model alone beside them.

    :param report: the report
    :return: rows under SERVER_COLUMNS
    """

    def row(
        what: str, figure: Callable[[Stood], float], alone: Callable[[ServeRound], float] | None = None
    ) -> list[str]:
        plain = [figure(own.plain) for own in report.rounds if own.plain is not None]
        return [
            what,
            ends(report.over(alone)) if alone else "",
            ends(report.over(lambda own: figure(own.service))),
            ends(report.over(lambda own: figure(own.plain) if own.plain else 0.0)) if plain else "not measured",
        ]

    def milliseconds(load: Load, part: float) -> float:
        return load.quantile(part) * MILLISECONDS

    many = f"{CLIENTS} clients"
    rows = [
        row("one client: p50, ms", lambda s: milliseconds(s.single, 0.5), lambda r: r.alone.seconds * MILLISECONDS),
        row("one client: p99, ms", lambda s: milliseconds(s.single, 0.99)),
        row(f"{many}: texts/s", lambda s: s.crowd.rate, lambda r: r.alone.rate),
        row(f"{many}: p50, ms", lambda s: milliseconds(s.crowd, 0.5)),
        row(f"{many}: p99, ms", lambda s: milliseconds(s.crowd, 0.99)),
        row(f"{many}: processors of the server, ms per request", lambda s: _each(s.busy_crowd, s.crowd)),
        row(f"{many}: processors of the clients, ms per request", lambda s: _each(s.crowd.busy, s.crowd)),
    ]
    return [tuple(cells) for cells in rows]


def notes(report: ServeReport) -> list[str]:
    """What must be known to read the bars.

    :param report: the report
    :return: paragraphs
    """
    tail = report.over(lambda own: CLIENTS / own.alone.rate / own.service.single.quantile(0.5))
    need = report.over(lambda own: CLIENTS / (MOST_TAIL * own.service.single.quantile(0.5)) / own.alone.rate)
    lines = [
        f"{CLIENTS} closed-loop clients wait {CLIENTS} / throughput on average (Little's law). At the speed "
        f"of offline batches, with responses that cost nothing, that is {ends(tail)} times the unloaded p50; "
        f"{MOST_TAIL:g} times need {ends(need, percent=True)} of that speed.",
    ]
    if any(own.plain for own in report.rounds):
        times = report.over(lambda own: own.service.crowd.rate / own.plain.crowd.rate if own.plain else 0.0)
        lines.append(f"With {CLIENTS} clients the service is {ends(times)} times as fast as the plain server.")
    if report.memory:
        steps = ", ".join(number(value) for value in report.memory)
        lines.append(
            f"Resident memory of the service in MiB, before {report.requests:,} requests and after each tenth: {steps}."
        )
    known = [own.others for own in report.rounds if own.others is not None]
    if known:
        lines.append(f"Other processes took up to {max(known):.0%} of the machine; disturbed rounds were repeated.")
    return lines


def as_markdown(report: ServeReport) -> str:
    """The page.

    :param report: what was measured
    :return: Markdown
    """
    source = (
        f"Single texts of nine words, from {CLIENTS} closed-loop clients on the same "
        f"machine. {report.model} in float32; the plain server (FastAPI and sentence-transformers) has the same "
        f"weights; the model alone has {OFFLINE_TEXTS} texts per call. {len(report.rounds)} rounds in turns, "
        f"{report.seconds:g} s per load; medians, lowest and highest round. Written by `babelclip benchmark serve "
        "--markdown`."
    )
    parts = [
        "# Service under load",
        source,
        *machine_lines(report.machine),
        table(BAR_COLUMNS, bar_rows(report)),
        *notes(report),
        table(SERVER_COLUMNS, server_rows(report)),
    ]
    return "\n\n".join(parts) + "\n"


def _reached(got: Spread) -> str:
    """What was reached; of one value without its ends."""
    return number(got.median) if got.low == got.high else ends(got)


def _each(seconds: float, load: Load) -> float:
    """Milliseconds a request."""
    return seconds * MILLISECONDS / len(load.times)
