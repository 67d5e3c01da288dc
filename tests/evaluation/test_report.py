"""Tests of report tables, data and plots."""

from pathlib import Path

import pytest
from PIL import Image

from babelclip.errors import DataError
from babelclip.evaluation.report import as_data, as_markdown, plot, summary
from babelclip.evaluation.scores import Figure, LanguageScore, Report


def report() -> Report:
    scores = [
        LanguageScore(code, 10, {"R@1": Figure(value / 2, 0, 1), "R@10": Figure(value, 0, 1)})
        for code, value in (("de", 0.4), ("en", 0.8), ("tlh", 0.0))
    ]
    return Report("Retrieval", "7 pictures", tuple(scores))


def test_the_mean_is_over_the_listed_languages_with_a_score() -> None:
    rows = summary(report(), ("de", "en", "fr"))
    assert [row.language for row in rows] == ["en", "mean of 2", "mean of 3"]
    assert rows[1].figures["R@10"].value == pytest.approx(0.6)
    assert [row.language for row in summary(report(), ("de", "en", "tlh"))] == ["en", "mean of 3"]
    with pytest.raises(DataError, match="in any of the languages"):
        report().mean(["xx"])


def test_the_page_and_the_data_hold_every_language() -> None:
    page = as_markdown([report()], ("de", "en"), heading="H", source="S")
    assert page.startswith("# H\n\nS\n")
    assert "| de German | 10 | 0.200 (0.000-1.000) | 0.400 |" in page
    assert page.index("### Other languages") < page.index("| tlh |")
    assert as_data(report(), ("de", "en"))[2] == {
        "evaluation": "Retrieval",
        "subject": "7 pictures",
        "language": "tlh",
        "listed": False,
        "count": 10,
        "R@1": [0.0, 0, 1],
        "R@10": [0.0, 0, 1],
    }


def test_the_plot_is_a_picture_with_a_bar_for_each_listed_language(tmp_path: Path) -> None:
    plot(report(), "R@10", ("de", "en"), tmp_path / "few.png")
    plot(report(), "R@10", ("de",), tmp_path / "fewer.png")
    with Image.open(tmp_path / "few.png") as few, Image.open(tmp_path / "fewer.png") as fewer:
        assert few.height > fewer.height
        assert len(set(few.convert("RGB").get_flattened_data())) > 10
