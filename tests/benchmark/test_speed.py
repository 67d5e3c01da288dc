import pytest

from babelclip.benchmark.speed import FEWEST_CALLS, Task, measure_speed, one_round
from babelclip.models.registry import DEFAULT


def test_a_round_has_its_fewest_calls_and_numbers_them_from_one() -> None:
    numbers: list[int] = []
    result = one_round(Task("a task", 1, numbers.append), 0)
    assert numbers == list(range(1, FEWEST_CALLS + 1))
    assert len(result.seconds) == FEWEST_CALLS


def test_a_runtime_that_is_unknown_is_left_out_and_named() -> None:
    said: list[str] = []
    assert measure_speed(DEFAULT, ["abacus"], rounds=1, seconds=0, left_out=said.append) == []
    assert len(said) == 1
    assert said[0].startswith("abacus was left out: ")


@pytest.mark.slow
def test_every_task_has_a_row_per_runtime() -> None:
    rows = measure_speed(DEFAULT, ["openvino", "onnxruntime"], rounds=2, seconds=0)
    tasks = ["texts, batches of 128", "one query", "images, batches of 32"]
    assert [(row.task, row.runtime) for row in rows] == [
        (task, runtime) for task in tasks for runtime in ("openvino", "onnxruntime")
    ]
    for row in rows:
        assert 0 < row.per_second.low <= row.per_second.median <= row.per_second.high
        assert 0 < row.p50_ms <= row.p95_ms
        assert row.calls == 2 * FEWEST_CALLS
