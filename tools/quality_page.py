"""What was measured, as a page and as verdicts: the JSON of measure_mini.py -> Markdown."""

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from babelclip.text.languages import BY_CODE, CODES

GOOD, FAIR = 0.75, 0.5
"""Least means of a language's figures against those of English."""
LEAST = 30
"""Queries of a language that a figure must rest on to count for its verdict."""
JUDGED = {
    "photos, dev split": "T>I R@10",
    "stamps held out": "T>I R@10",
    "emoji held out": "T>I R@10",
    "imagenet": "top-1",
}


@dataclass(frozen=True, slots=True)
class Bar:
    """What a measure must reach at least: in English, and as the mean of the other listed languages."""

    title: str
    figure: str
    english: float | None
    others: float
    what: str


BARS = (
    Bar("photos, dev split", "T>I R@10", 0.85, 0.75, "flickr8k, dev split, R@10"),
    Bar("stamps held out", "T>I R@10", 0.62, 0.50, "Tux Paint, natural objects held out, R@10"),
    Bar("imagenet", "top-1", 0.72, 0.42, "imagenet-sample, names of Babel-ImageNet, top-1"),
    Bar("laser-tatoeba", "both", None, 0.75, "LASER Tatoeba, both ways"),
)
SHOWN = {**JUDGED, "stamps held out, among all": "T>I R@10", "laser-tatoeba": "both"}
Row = Mapping[str, list[float]]


class Measured:
    """The figures of one model: measure -> language -> figure -> [value, low, high]."""

    def __init__(self, file: Path) -> None:
        """Read what measure_mini.py wrote."""
        self._rows: dict[str, dict[str, dict[str, object]]] = {}
        self.subjects: dict[str, str] = {}
        for row in json.loads(file.read_text(encoding="utf-8"))["rows"]:
            self._rows.setdefault(row["evaluation"], {})[row["language"]] = row
            self.subjects[row["evaluation"]] = row["subject"]

    def languages(self, title: str) -> list[str]:
        """The languages that a measure has figures for; none where it was not measured."""
        return list(self._rows.get(title, {}))

    def count(self, title: str, language: str) -> int:
        """How many queries a language has in a measure."""
        row = self._rows.get(title, {}).get(language)
        return int(str(row["count"])) if row else 0

    def value(self, title: str, figure: str, language: str) -> float | None:
        """A figure, or None where it was not measured."""
        row = self._rows.get(title, {}).get(language)
        found = row[figure] if row else None
        return float(found[0]) if isinstance(found, list) else None

    def interval(self, title: str, figure: str, language: str) -> str:
        """The 95% interval of a figure."""
        found = self._rows[title][language][figure]
        return f"{found[1]:.3f}-{found[2]:.3f}" if isinstance(found, list) else ""

    def others(self, title: str, figure: str) -> float:
        """The plain mean over the listed languages but English."""
        values = [self.value(title, figure, code) for code in CODES if code != "en"]
        present = [value for value in values if value is not None]
        return sum(present) / len(present) if present else float("nan")

    def verdict(self, language: str) -> tuple[str, float]:
        """Good, fair or poor, and the mean of a language's figures against those of English."""
        ratios = []
        for title, figure in JUDGED.items():
            own, english = self.value(title, figure, language), self.value(title, figure, "en")
            if own is not None and english and self.count(title, language) >= LEAST:
                ratios.append(own / english)
        if not ratios:
            return "not measured", float("nan")
        ratio = sum(ratios) / len(ratios)
        return "good" if ratio >= GOOD else "fair" if ratio >= FAIR else "poor", ratio


def bars_table(models: Mapping[str, Measured]) -> str:
    """Every model against the bars: English / mean of the other listed languages present.

    :param models: by name.
    :return: a Markdown table.
    """
    lines = ["| measure | at least | " + " | ".join(models) + " |", "|---|---:|" + "---:|" * len(models)]
    for bar in BARS:
        least = f"{bar.others:.2f}" if bar.english is None else f"{bar.english:.2f} / {bar.others:.2f}"
        found = []
        for measured in models.values():
            own = measured.value(bar.title, bar.figure, "en")
            mean = f"{measured.others(bar.title, bar.figure):.3f}"
            if not measured.languages(bar.title):
                found.append("not measured")
            else:
                found.append(mean if own is None else f"{own:.3f} / {mean}")
        lines.append(f"| {bar.what} | {least} | " + " | ".join(found) + " |")
    return "\n".join(lines)


def measures_table(models: Mapping[str, Measured]) -> str:
    """All measures of every model: English with its interval, and the mean of the other listed languages.

    :param models: by name.
    :return: a Markdown table.
    """
    lines = ["| measure | of | languages | " + " | ".join(f"{name}: English (95%) / others" for name in models) + " |"]
    lines.append("|---|---|---:|" + "---:|" * len(models))
    first = next(iter(models.values()))
    for title, figure in SHOWN.items():
        if not first.languages(title):
            continue
        found = []
        for measured in models.values():
            own = measured.value(title, figure, "en")
            english = "" if own is None else f"{own:.3f} ({measured.interval(title, figure, 'en')}) / "
            found.append(f"{english}{measured.others(title, figure):.3f}")
        count = len(first.languages(title))
        lines.append(f"| {title}, {figure} | {first.subjects[title]} | {count} | " + " | ".join(found) + " |")
    return "\n".join(lines)


def languages_table(measured: Measured, titles: Sequence[str] = tuple(JUDGED)) -> str:
    """A row a language: verdict, the mean against English, and figures.

    :param measured: of one model.
    :param titles: the measures to show beside the verdict.
    :return: a Markdown table.
    """
    lines = ["| language | verdict | against English | " + " | ".join(titles) + " |", "|---|---|---:|"]
    lines[1] += "---:|" * len(titles)
    for code in CODES:
        verdict, ratio = measured.verdict(code)
        values = [measured.value(title, SHOWN[title], code) for title in titles]
        cells = ["" if value is None else f"{value:.3f}" for value in values]
        lines.append(f"| {code} {BY_CODE[code].name} | {verdict} | {ratio:.2f} | " + " | ".join(cells) + " |")
    return "\n".join(lines)


def verdicts(measured: Measured) -> dict[str, str]:
    """Good, fair or poor by language.

    :param measured: of one model.
    :return: code -> verdict.
    """
    return {code: verdict for code in CODES if (verdict := measured.verdict(code)[0]) != "not measured"}


def speed_table(file: Path) -> str:
    """What compare_speed.py measured.

    :param file: its JSON.
    :return: a Markdown table.
    """
    lines = ["| task | first version | this version | times as fast |", "|---|---:|---:|---:|"]
    for row in json.loads(file.read_text(encoding="utf-8")):
        lines.append(f"| {row['task']} | {row['old']:.1f} ms | {row['new']:.1f} ms | {row['old'] / row['new']:.2f} |")
    return "\n".join(lines)


def page(models: Mapping[str, Measured], shipped: str, speed: Path) -> str:
    """docs/benchmarks/quality.md.

    :param models: by name; all are compared, one is shown by language.
    :param shipped: the one that is shown.
    :param speed: what compare_speed.py wrote, where it is there.
    :return: Markdown.
    """
    parts = [
        "# Quality of mini",
        "Written by `tools/ship_mini.py` from what `tools/measure_mini.py` measured; `babelclip evaluate` gives the "
        "same figures for any model. R@10: the share of captions whose image is among the first ten by cosine. Held "
        "out: a third of the stamps, emoji and stories, by concept, that no training read; seen: the other two thirds. "
        "Intervals are 95% bootstrap over the queries.",
        "## Thresholds",
        "English / unweighted mean of the other listed languages present.",
        bars_table(models),
        "## All measures",
        measures_table(models),
        f"## By language: {shipped}",
        f"The verdict is the mean of four figures against those of English, of those that rest on {LEAST} queries or "
        f"more: good from {GOOD}, fair from {FAIR}, else poor.",
        languages_table(models[shipped], [*JUDGED, "stamps held out, among all", "laser-tatoeba"]),
    ]
    if speed.is_file():
        parts += [
            "## Speed against the first version",
            "Medians of processes that took turns; float32, OpenVINO, the same inputs. Written from what "
            "`tools/compare_speed.py` measured.",
            speed_table(speed),
        ]
    return "\n\n".join(parts) + "\n"
