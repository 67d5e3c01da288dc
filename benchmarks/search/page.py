"""The page on neighbour search."""

from collections.abc import Sequence

from babelclip.benchmark.search import FILTERED_QUERIES, SizeRow


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
