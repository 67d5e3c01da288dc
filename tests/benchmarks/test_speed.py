"""Measurements against other libraries: what is counted, compared and reported."""

import json
import os
import sys
from dataclasses import replace
from itertools import count
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import onnx
import pytest
from numpy.typing import NDArray
from onnx import TensorProto
from PIL import Image
from typer.testing import CliRunner

from babelclip.benchmark import machine
from babelclip.benchmark.rounds import Measurement, quietest
from babelclip.errors import InputError
from babelclip.graphs.builder import GraphBuilder
from benchmarks.speed.__main__ import APP
from benchmarks.speed.adapters import open_work
from benchmarks.speed.build_fixtures import build_fixtures
from benchmarks.speed.engines import BASELINE, BEST, BY_ENGINE, ENGINES, MINI, THRESHOLDS, named_engines, named_tasks
from benchmarks.speed.fixtures import SMALL, Fixtures
from benchmarks.speed.flops import multiply_adds
from benchmarks.speed.matrix_products import product_flops, product_graph
from benchmarks.speed.processes import Round, Samples
from benchmarks.speed.report import BenchmarkRow, as_lines, from_lines, rows_of
from benchmarks.speed.worker import FEWEST_CALLS, round_of

OURS = "babelclip-openvino-float32"
OTHER = "babelclip-onnxruntime-int8"


@pytest.fixture(scope="session")
def fixtures(tmp_path_factory: pytest.TempPathFactory) -> Fixtures:
    """Tiny models and pictures."""
    root = tmp_path_factory.mktemp("speed")
    return build_fixtures(root, small=True, models=True, files=True, say=lambda _: None)


def run(*arguments: object) -> Any:
    return CliRunner().invoke(APP, [*map(str, arguments)], catch_exceptions=True)


def graph(operator: str, x: list[int | str], weight: NDArray[np.float32], **attributes: Any) -> onnx.ModelProto:
    g = GraphBuilder()
    given = g.input("x", TensorProto.FLOAT, x)
    return g.model(g.node(operator, given, g.constant(weight), **attributes), "d", "one")


@pytest.mark.parametrize(
    ("operator", "x", "weight", "attributes", "expected"),
    [
        ("MatMul", (5, 16), (16, 32), {}, 5 * 16 * 32),
        ("MatMul", (2, 5, 16), (16, 32), {}, 2 * 5 * 16 * 32),
        ("Gemm", (16, 5), (16, 32), {"transA": 1}, 5 * 16 * 32),
        ("Conv", (2, 3, 8, 8), (6, 3, 4, 4), {"strides": [4, 4]}, 2 * 6 * 2 * 2 * 3 * 4 * 4),
        ("Conv", (1, 8, 6, 6), (8, 1, 3, 3), {"group": 8}, 8 * 4 * 4 * 3 * 3),
        ("Add", (32,), (32,), {}, 0),
    ],
)
def test_multiply_adds_are_those_of_products_and_convolutions(
    operator: str, x: tuple[int, ...], weight: tuple[int, ...], attributes: dict[str, Any], expected: int
) -> None:
    free: list[int | str] = ["n", *x[1:]]
    model = graph(operator, free, np.zeros(weight, np.float32), **attributes)
    assert multiply_adds(model, {"x": x}) == expected


def test_multiply_adds_of_a_tower_follow_from_its_sizes(fixtures: Fixtures) -> None:
    rows, length, width, inner, layers, dimension = SMALL.texts, 12, 32, 64, 2, 24
    layer = rows * length * (4 * width * width + 2 * width * inner) + 2 * rows * length * length * width
    assert fixtures.facts["multiply_adds"]["text"] >= layers * layer + rows * width * dimension
    assert fixtures.facts["multiply_adds"]["text"] <= 1.02 * (layers * layer + rows * width * dimension)


def test_a_shape_that_does_not_follow_is_an_input_error() -> None:
    g = GraphBuilder()
    shape = g.input("shape", TensorProto.INT64, (2,))
    unknown = g.node("Reshape", g.input("x", TensorProto.FLOAT, (4, 8)), shape)
    model = g.model(g.node("MatMul", unknown, g.constant(np.zeros((8, 9), np.float32))), 9, "unknown")
    with pytest.raises(InputError, match="does not follow from those of"):
        multiply_adds(model, {"x": (4, 8), "shape": (2,)})


@pytest.mark.parametrize("int8", [False, True])
def test_the_operations_of_a_product_are_those_of_its_graph(int8: bool) -> None:
    built = product_graph(6, 16, 32, int8=int8)
    assert 2 * multiply_adds(built, {"x": (6, 16)}) == product_flops(6, 16, 32)


def test_texts_differ_from_call_to_call_and_have_twelve_tokens(fixtures: Fixtures) -> None:
    from babelclip.models.model import Model

    texts = fixtures.texts(0, 50)
    assert len(set(texts)) == 50
    assert fixtures.texts(10, 3) == texts[10:13]
    assert {len(ids) for ids in Model.load(text=fixtures.text).tokenizer.encode(texts)} == {12}


def test_large_files_are_jpegs_with_exif_and_none_is_another(fixtures: Fixtures) -> None:
    seen = set()
    for path in fixtures.file_paths():
        with Image.open(path) as image:
            assert (image.format, image.size) == ("JPEG", (SMALL.file_width, SMALL.file_height))
            assert image.getexif()
            seen.add(image.tobytes())
    assert len(seen) == SMALL.files


@pytest.mark.parametrize("task", ["text", "query", "images", "tower", "files"])
def test_the_baseline_gives_the_vectors_that_babelclip_gives(fixtures: Fixtures, task: str) -> None:
    theirs, ours = (open_work(BY_ENGINE[name], task, fixtures) for name in (BASELINE, OURS))
    assert theirs.rows == ours.rows
    inputs = theirs.inputs(3)
    a, b = np.asarray(theirs.run(inputs)), np.asarray(ours.run(inputs))
    assert (a * b).sum(axis=1).min() > 0.9999


def test_a_search_of_either_finds_ten_photos(fixtures: Fixtures) -> None:
    theirs, ours = (open_work(BY_ENGINE[name], "search", fixtures) for name in (BASELINE, OURS))
    found: Any = theirs.run(theirs.inputs(0))
    hits: Any = ours.run(ours.inputs(0))
    assert len(found[0]) == len(hits) == 10


def test_every_call_of_indexing_makes_an_index_of_all_files(fixtures: Fixtures) -> None:
    work = open_work(BY_ENGINE[OURS], "index", fixtures)
    reports: Any = [work.run(work.inputs(i)) for i in range(2)]
    assert [report.added for report in reports] == [SMALL.files] * 2


def test_a_round_has_some_calls_however_short_and_new_inputs_for_each(fixtures: Fixtures) -> None:
    work = open_work(BY_ENGINE[OURS], "query", fixtures)
    asked: list[int] = []
    seen = replace(work, inputs=lambda i: asked.append(i) or work.inputs(i))  # type: ignore[func-returns-value]
    assert len(round_of(seen, 1e-9, first=7)) == 1
    assert asked == [7, 8]


@pytest.mark.parametrize(("call_seconds", "calls"), [(0.1, 10), (0.6, FEWEST_CALLS), (4.0, 1)])
def test_a_round_lasts_its_seconds_and_has_few_calls_of_what_is_slow(
    fixtures: Fixtures, monkeypatch: pytest.MonkeyPatch, call_seconds: float, calls: int
) -> None:
    ticks = (i // 2 * 100 + i % 2 * call_seconds for i in count())
    clock = SimpleNamespace(perf_counter=lambda: next(ticks), sleep=lambda _: None)
    monkeypatch.setattr("benchmarks.speed.worker.time", clock)
    work = replace(open_work(BY_ENGINE[OURS], "query", fixtures), run=lambda _: None)
    assert len(round_of(work, 0.95)) == calls


def sample(engine: str, *rounds: float, task: str = "tower", flops: int | None = None, rows: int = 4) -> Samples:
    return Samples(task, engine, rows, tuple((value, value, value) for value in rounds), flops)


def rows(*samples: Samples, judged: bool = True) -> dict[str, BenchmarkRow]:
    found = rows_of(samples, baseline=BASELINE, flops={"tower": 4_000_000_000}, judged=judged)
    return {row.engine: row for row in found}


def test_ratios_and_shares_are_taken_round_by_round() -> None:
    found = rows(
        sample(BASELINE, 8.0, 16.0, 8.0),
        sample(BEST, 1.0, 2.0, 2.0),
        sample("product-openvino-int8", 1.0, 1.0, 2.0, flops=5_000_000_000, rows=1),
    )
    assert found[BEST].ratio == Measurement(8.0, 4.0, 8.0)
    assert found[BEST].gflops == Measurement(2.0, 2.0, 4.0)
    assert found[BEST].share == Measurement(0.8, 0.4, 0.8)
    assert found[BEST].per_second == 2.0
    assert (found[BEST].p50, found[BEST].calls) == (2.0, 9)
    assert found[BASELINE].ratio == Measurement(1.0, 1.0, 1.0)
    product = found["product-openvino-int8"]
    assert (product.ratio, product.share, product.gflops) == (None, None, Measurement(5.0, 2.5, 5.0))


def test_without_the_baseline_or_a_product_there_is_no_ratio_and_no_share() -> None:
    alone = rows(sample(BEST, 1.0))[BEST]
    assert (alone.ratio, alone.share, alone.met) == (None, None, None)
    assert alone.bar is not None


def test_another_model_has_no_ratio() -> None:
    assert rows(sample(BASELINE, 8.0), sample(MINI, 1.0))[MINI].ratio is None


def test_a_bar_is_met_or_missed_and_tiny_models_are_not_judged() -> None:
    def text(ours: float, *, judged: bool = True) -> BenchmarkRow:
        return rows(sample(BASELINE, 8.0, task="text"), sample(BEST, ours, task="text"), judged=judged)[BEST]

    assert (text(0.9).met, text(1.1).met) == (True, False)
    assert text(0.9, judged=False).bar is None
    memory = rows(sample(MINI, 351.0, task="memory"))[MINI]
    assert (memory.met, memory.per_second, memory.p50) == (False, None, None)


def test_memory_is_a_part_of_the_baselines() -> None:
    found = rows(sample(BASELINE, 1000.0, task="memory"), sample(BEST, 250.0, task="memory"))
    assert found[BEST].ratio == Measurement(0.25, 0.25, 0.25)


def test_every_bar_is_of_an_engine_that_does_the_task() -> None:
    for bar in THRESHOLDS:
        assert bar.task in BY_ENGINE[bar.engine].tasks


def test_engines_bring_the_product_that_bounds_them_and_unknown_names_are_refused() -> None:
    assert [engine.name for engine in named_engines((OURS,))] == [OURS, "product-openvino-float32"]
    assert named_engines(()) == ENGINES
    with pytest.raises(InputError, match="engine 'torch' is not known; known are"):
        named_engines(("torch",))
    with pytest.raises(InputError, match="task 'texts' is not known; known are text, query"):
        named_tasks(("texts",))


@pytest.fixture(scope="session")
def record(fixtures: Fixtures, tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, str]:
    """The lines of a run with an engine that is broken, and what was said of it."""
    folder = tmp_path_factory.mktemp("record")
    broken = folder / "python"
    broken.write_text("#!/bin/sh\necho it is broken >&2\nexit 3\n")
    broken.chmod(0o755)
    options = ["--small", "--scratch", fixtures.root, "--rounds", 2, "--seconds", 0, "--against", OURS, "--json"]
    engines = f"{OURS},{OTHER},fastembed"
    done = run("run", "--only", "text,memory", "--engines", engines, "--python", f"fastembed={broken}", *options)
    assert done.exit_code == 0, done.output
    (folder / "run.jsonl").write_text(done.stdout)
    return folder / "run.jsonl", done.stderr


def test_a_run_has_a_row_an_engine_and_task_and_names_the_machine(record: tuple[Path, str]) -> None:
    lines = [json.loads(line) for line in record[0].read_text().splitlines()]
    found = {(line["task"], line["engine"]): line for line in lines if line["kind"] == "row"}
    products = {f"product-{name}" for name in ("openvino-float32", "onnxruntime-int8", "onnxruntime-float32")}
    wanted = {("text", name) for name in (OURS, OTHER, *products)} | {("memory", OURS), ("memory", OTHER)}
    assert found.keys() == wanted
    for line in found.values():
        assert line["rounds"] == 2
        assert line["value"]["low"] > 0
    assert found["text", OURS]["ratio"]["median"] == 1
    assert found["text", OTHER]["share"]["median"] > 0
    assert found["text", OTHER]["versions"]["onnxruntime"]
    assert 20 < found["memory", OURS]["value"]["median"] < 2000
    told, *_ = [line["machine"] for line in lines if line["kind"] == "run"]
    assert told["cores"] == len(os.sched_getaffinity(0))
    assert told["versions"]["python"].split(".")[:2] == [str(part) for part in sys.version_info[:2]]


def test_an_engine_that_cannot_be_had_is_left_out_and_named(record: tuple[Path, str]) -> None:
    lines = [json.loads(line) for line in record[0].read_text().splitlines()]
    why = "its process ended with code 3: it is broken"
    assert {"kind": "left out", "task": "text", "engine": "fastembed", "why": why} in lines
    assert f"text: fastembed was left out: {why}" in record[1]


def test_a_page_shows_every_row_and_its_plot(record: tuple[Path, str], tmp_path: Path) -> None:
    done = run("page", record[0], "--markdown", tmp_path / "page.md")
    assert done.exit_code == 0, done.output
    page = (tmp_path / "page.md").read_text()
    assert page.count(f"| {OTHER} |") == 2
    assert "## Texts: a batch of 8 of 12 tokens" in page
    assert "| text | fastembed | its process ended with code 3: it is broken |" in page
    assert "](page.png)" in page
    with Image.open(tmp_path / "page.png") as plot:
        assert plot.width > 600
    assert (tmp_path / "page.png").stat().st_size < 100_000


def test_of_several_runs_a_task_counts_as_measured_last(record: tuple[Path, str]) -> None:
    lines = [json.loads(line) for line in record[0].read_text().splitlines()]
    report = from_lines(lines)
    assert from_lines(json.loads(json.dumps(as_lines(report)))) == report
    first, *_ = [line for line in lines if line["kind"] == "run"]
    later = [{**line, "rounds": 9} for line in lines if line["kind"] == "row" and line["task"] == "memory"]
    both = from_lines([*lines, first, *later])
    assert {row.rounds for row in both.rows if row.task == "memory"} == {9}
    assert [row for row in both.rows if row.task == "text"] == [row for row in report.rows if row.task == "text"]


def test_a_turn_that_others_disturb_is_repeated_and_the_quietest_counts() -> None:
    def taken(*others: float | None) -> tuple[Round, int]:
        turns = iter([Round((float(i),), share) for i, share in enumerate(others)])
        return quietest(lambda: next(turns)), sum(1 for _ in turns)

    assert taken(0.02, 0.0) == (Round((0.0,), 0.02), 1)
    assert taken(None, 0.0) == (Round((0.0,), None), 1)
    assert taken(0.5, 0.3, 0.04, 0.0) == (Round((2.0,), 0.04), 1)
    assert taken(0.5, 0.3, 0.4, 0.6, 0.0) == (Round((1.0,), 0.3), 1)


def test_what_others_take_is_what_is_busy_beyond_ones_own(monkeypatch: pytest.MonkeyPatch) -> None:
    busy, clock = iter([100.0, 103.0]), iter([10.0, 12.0])
    monkeypatch.setattr(machine, "busy_seconds", lambda: next(busy))
    monkeypatch.setattr(machine, "cores", lambda: 2)
    monkeypatch.setattr("babelclip.benchmark.machine.time.perf_counter", lambda: next(clock))
    assert machine.Watch().others(own=2.0) == 0.25


def test_imports_are_timed_without_any_model(tmp_path: Path) -> None:
    options = ["--engines", "import-babelclip", "--rounds", 1, "--small", "--scratch", tmp_path, "--json"]
    done = run("run", "--only", "start", *options)
    assert done.exit_code == 0, done.output
    (row,) = [line for line in map(json.loads, done.stdout.splitlines()) if line["kind"] == "row"]
    assert 0 < row["value"]["median"] < 60
    assert not (tmp_path / "text").exists()


@pytest.mark.slow
def test_the_memory_of_the_service_is_that_of_its_own_process(tmp_path: Path) -> None:
    options = ["--engines", "babelclip-serve-mini", "--rounds", 1, "--small", "--scratch", tmp_path, "--json"]
    done = run("run", "--only", "memory", *options)
    assert done.exit_code == 0, done.output
    (row,) = [line for line in map(json.loads, done.stdout.splitlines()) if line["kind"] == "row"]
    assert row["value"]["median"] > 100


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["run", "--only", "texts"], "task 'texts' is not known"),
        (["run", "--engines", "torch"], "engine 'torch' is not known"),
        (["run", "--against", "torch"], "engine 'torch' is not known"),
        (["run", "--python", "fastembed"], "give ENGINE=PATH"),
        (["run", "--python", "fastembed=/nowhere/python"], "give ENGINE=PATH"),
        (["page", "/nowhere.jsonl", "--markdown", "page.md"], "not the lines of benchmarks.speed run --json"),
    ],
)
def test_options_that_cannot_be_are_answered(arguments: list[str], message: str) -> None:
    done = run(*arguments)
    assert done.exit_code != 0
    assert message in str(done.exception) + done.output


def test_a_folder_of_another_size_is_refused(fixtures: Fixtures) -> None:
    with pytest.raises(InputError, match="holds fixtures of another size; give another --scratch"):
        build_fixtures(fixtures.root, small=False, models=False, files=False, say=lambda _: None)
