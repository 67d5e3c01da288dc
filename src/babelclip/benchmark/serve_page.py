"""A report on the service under load, as tables and as a Markdown page."""

from collections.abc import Callable

from babelclip.benchmark.load import Load
from babelclip.benchmark.machine import machine_lines
from babelclip.benchmark.rounds import Measurement
from babelclip.benchmark.serve import CLIENTS, MOST_TAIL, OFFLINE_TEXTS, ServeReport, ServeRound, Stood
from babelclip.benchmark.tables import ends, number, table

MILLISECONDS = 1e3
BAR_COLUMNS = ("measure", "threshold#", "reached (lowest to highest)#", "met")


def bar_rows(report: ServeReport) -> list[tuple[str, ...]]:
    """Every bar beside what was reached.

    :param report: the report
    :return: rows under BAR_COLUMNS
    """
    return [(what, f"{limit:g}", _reached(got), "yes" if met else "NO") for what, limit, got, met in report.bars()]


def has_baseline(report: ServeReport) -> bool:
    """Tell whether another server was measured.

    :param report: the report
    :return: whether every round has it
    """
    return all(own.baseline is not None for own in report.rounds)


def server_columns(report: ServeReport) -> tuple[str, ...]:
    """Return the headings of server_rows; those that end in "#" are of numbers.

    :param report: the report
    :return: headings, the last of the baseline if one was measured
    """
    columns = ("", "the model alone#", "babelclip serve#")
    return (*columns, "baseline#") if has_baseline(report) else columns


def server_rows(report: ServeReport) -> list[tuple[str, ...]]:
    """Summarize the latency and throughput of each server with one client and with many, and of the model alone.

    :param report: the report
    :return: rows under server_columns
    """

    def row(
        what: str, figure: Callable[[Stood], float], alone: Callable[[ServeRound], float] | None = None
    ) -> list[str]:
        cells = [what, ends(report.over(alone)) if alone else "", ends(report.over(lambda own: figure(own.service)))]
        if has_baseline(report):
            cells.append(ends(report.over(lambda own: figure(own.baseline) if own.baseline else 0.0)))
        return cells

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
    if any(own.baseline for own in report.rounds):
        times = report.over(lambda own: own.service.crowd.rate / own.baseline.crowd.rate if own.baseline else 0.0)
        lines.append(f"With {CLIENTS} clients the service is {ends(times)} times as fast as the baseline.")
    if report.memory:
        steps = ", ".join(number(value) for value in report.memory)
        lines.append(
            f"Resident memory of the service in MiB, before {report.requests:,} requests and after each tenth: {steps}."
        )
    known = [own.others for own in report.rounds if own.others is not None]
    if known:
        lines.append(f"Other processes took up to {max(known):.0%} of the machine; disturbed rounds were repeated.")
    return lines


def as_markdown(report: ServeReport, *, baseline: str = "", command: str = "babelclip benchmark serve") -> str:
    """Write the page.

    :param report: the report
    :param baseline: a clause about the baseline server, with its separator
    :param command: the command that made the report
    :return: Markdown
    """
    source = (
        f"Single texts of nine words, from {CLIENTS} closed-loop clients on the same "
        f"machine. {report.model} in float32; {baseline}the model alone has {OFFLINE_TEXTS} texts per call. "
        f"{len(report.rounds)} rounds, {report.seconds:g} s per load; medians, lowest and highest round. Written by "
        f"`{command} --markdown`."
    )
    parts = [
        "# Service under load",
        source,
        *machine_lines(report.machine),
        table(BAR_COLUMNS, bar_rows(report)),
        *notes(report),
        table(server_columns(report), server_rows(report)),
    ]
    return "\n\n".join(parts) + "\n"


def _reached(got: Measurement) -> str:
    """What was reached; of one value without its ends."""
    return number(got.median) if got.low == got.high else ends(got)


def _each(seconds: float, load: Load) -> float:
    """Milliseconds a request."""
    return seconds * MILLISECONDS / len(load.times)
