"""The page on neighbour search."""

from collections.abc import Sequence

from babelclip.benchmark.search import FILTERED_QUERIES, SizeRow
from babelclip.benchmark.tables import ends, table
from benchmarks.search.adapters import ADAPTERS, EFFORTS
from benchmarks.search.libraries import ADDED, ALLOWED_SHARE, LibraryRow

SEARCH_COLUMNS = (
    "library",
    "ef_search#",
    "recall@10, texts#",
    "p50 ms#",
    "p95 ms#",
    "p50 of ours times#",
    "recall@10, images#",
    "p50 ms#",
    "p95 ms#",
)
OTHER_COLUMNS = (
    "library",
    "build s#",
    "resident MiB#",
    "files MiB#",
    "recall@10, filtered#",
    "p50 ms#",
    "how a filter is applied",
    f"adding {ADDED:,} s#",
    "lines here#",
)


def as_markdown(rows: Sequence[SizeRow], *, source: str) -> str:
    """A page.

    :param rows: what was measured
    :param source: on what, and by which command
    :return: Markdown
    """
    lines = [
        "# Neighbour search",
        "",
        source,
        "",
        "| vectors | how | build | recall@10, texts | p50 | p95 | recall@10, images | p50 | brute force, p50 "
        "| resident | files |",
        "|---:|---|---:|---:|---:|---:|---:|---:|---:|---:|---:|",
    ]
    for row in rows:
        lines.append(
            f"| {row.vectors:,} | {row.method} | {row.build_seconds:.0f} s | {row.text_recall:.3f} | "
            f"{row.text_p50_ms:.2f} ms | {row.text_p95_ms:.2f} ms | {row.image_recall:.3f} | {row.image_p50_ms:.2f} ms "
            f"| {row.brute_p50_ms:.1f} ms | {row.resident_mib:.0f} MiB | {row.file_mib:.0f} MiB |"
        )
    return "\n".join([*lines, *_filtered_lines(rows)]) + "\n"


def _filtered_lines(rows: Sequence[SizeRow]) -> list[str]:
    """What was measured behind filters, as a second table."""
    lines = [
        f"| {row.vectors:,} | {one.let_through} | {one.share:.0%} | {one.text_recall:.3f} | {one.text_p50_ms:.1f} ms | "
        f"{one.image_recall:.3f} | {one.image_p50_ms:.1f} ms |"
        for row in rows
        for one in row.filtered
    ]
    head = [
        "",
        "## With a filter",
        "",
        f"The same, of {FILTERED_QUERIES} queries of each kind, with a filter.",
        "",
        "| vectors | allowed by the filter | share | recall@10, texts | p50 | recall@10, images | p50 |",
        "|---:|---|---:|---:|---:|---:|---:|",
    ]
    return [*head, *lines] if lines else []


def libraries_as_markdown(rows: Sequence[LibraryRow], *, source: str) -> str:
    """Write the page that compares libraries.

    :param rows: the rows, ours first
    :param source: the data, the machine and the command
    :return: Markdown
    """
    search = [
        (
            row.name,
            "by query" if row.ef_search is None else str(row.ef_search),
            f"{row.text_recall:.3f}",
            ends(row.text_p50_ms),
            ends(row.text_p95_ms),
            ends(row.text_ratio),
            f"{row.image_recall:.3f}",
            ends(row.image_p50_ms),
            ends(row.image_p95_ms),
        )
        for row in rows
    ]
    others = [
        (
            row.name,
            f"{row.build_seconds:.0f}",
            f"{row.resident_mib:.0f}",
            f"{row.file_mib:.0f}",
            f"{row.filtered_recall:.3f}",
            f"{row.filtered_p50_ms:.2f}",
            ADAPTERS[row.name].filters,
            f"{row.add_seconds:.2f}",
            str(row.lines),
        )
        for row in rows
    ]
    parts = [
        "# Libraries for neighbour search",
        source,
        "## Search",
        f"ef_search is the first of {', '.join(map(str, EFFORTS))} with the text recall of ours, or the last one; ours "
        "chooses its effort by query. Medians of rounds, with the lowest and the highest round.",
        table(SEARCH_COLUMNS, search),
        "## Build, filters, additions",
        f"Build includes saving; ours also stores the vectors in a catalog and tunes the effort. The filter allows "
        f"{ALLOWED_SHARE:.0%} of the vectors, at random. Resident: what an open index adds to a process after 100 "
        "queries. Lines here: for ours those of the graph modules that a library would replace, for others those of "
        "their adapter, which does not recover from damaged files, extend a saved index or tune itself.",
        table(OTHER_COLUMNS, others),
    ]
    return "\n\n".join(parts) + "\n"
