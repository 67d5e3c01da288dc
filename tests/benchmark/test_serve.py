from dataclasses import replace
from pathlib import Path

import pytest
from typer.testing import CliRunner

from babelclip.benchmark.load import Load
from babelclip.benchmark.machine import Machine
from babelclip.benchmark.serve import Alone, ServeReport, ServeRound, Stood
from babelclip.benchmark.serve_page import as_markdown
from babelclip.cli.app import APP

MACHINE = Machine("a processor", ("avx2",), 2, 8.0, "Linux x86_64", {"babelclip": "0"})


def stood(rate: float, single: float, crowd: float) -> Stood:
    return Stood(Load(1, 100, (single,) * 100, 0.1), Load(32, rate, (crowd,) * 100, 0.1), 1.0, 0.5)


ROUND = ServeRound(Alone(500, 0.004, 10.0), stood(400, 0.006, 0.080), stood(100, 0.020, 0.400), 0.01)
REPORT = ServeReport(MACHINE, "mini", 5.0, (ROUND,) * 3, 1000, (100.0, *[110.0] * 9, 112.0))


def test_bars_are_judged_by_the_median_of_ratios_of_a_round() -> None:
    slow = replace(ROUND, alone=replace(ROUND.alone, rate=4000), service=stood(400, 0.006, 0.8))
    bars = replace(REPORT, rounds=(slow, ROUND, ROUND)).bars()
    assert [(round(got.median, 2), met) for _, _, got, met in bars] == [
        (0.8, True),
        (13.33, False),
        (2.0, True),
        (0.02, True),
    ]
    assert bars[0][2].low == 0.1
    assert [met for *_, met in replace(REPORT, memory=(100.0, 100.0, 106.0)).bars()][-1] is False


def test_the_page_has_machine_bars_and_what_the_tail_could_be() -> None:
    page = as_markdown(REPORT)
    assert "a processor, 2 cores" in page
    assert "| p99 of 32 clients, times the unloaded p50 | 10 | 13.3 | NO |" in page
    # 32 / 500 / 0.006 seconds; 32 / 0.06 / 500
    assert "that is 10.7 (10.7 to 10.7) times the unloaded p50; 10 times need 107%" in page
    assert "4 (4 to 4) times as fast as the baseline" in page
    alone = as_markdown(replace(REPORT, rounds=(replace(ROUND, baseline=None),), memory=()))
    assert "baseline" not in alone
    assert "Resident" not in alone


@pytest.mark.slow
def test_the_command_measures_a_service_and_writes_its_page(
    clip_folder: Path, home: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("babelclip.benchmark.serve.WARM_SECONDS", 0.01)
    monkeypatch.setattr("babelclip.benchmark.rounds.MOST_REPEATS", 0)
    page = tmp_path / "page.md"
    command = ["benchmark", "serve", "--model", str(clip_folder), "--rounds", "1", "--seconds", "0.1"]
    result = CliRunner().invoke(APP, [*command, "--requests", "100", "--markdown", str(page)])
    assert result.exit_code == 0, result.output
    assert "throughput of 32 clients" in result.output
    assert "before 100 requests" in page.read_text()


@pytest.mark.parametrize("part", [0.0, 0.5, 0.99, 1.0])
def test_a_quantile_is_one_of_the_times(part: float) -> None:
    times = tuple(float(i) for i in range(100))
    assert Load(1, 1.0, times, 0.0).quantile(part) == min(99, part * 100)
