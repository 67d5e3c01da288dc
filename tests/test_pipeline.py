import itertools
import threading
from collections.abc import Iterator

import numpy as np
import pytest

from babelclip.pipeline import by_length, chunks, ordered_map


def test_batches_hold_texts_of_similar_length_within_the_budget() -> None:
    lengths = np.random.default_rng(0).integers(1, 128, 500).tolist()
    batches = list(by_length(lengths, max_tokens=512, max_rows=32))
    assert sorted(np.concatenate(batches).tolist()) == list(range(500))
    for batch in batches:
        sizes = [lengths[i] for i in batch]
        assert len(batch) <= 32
        assert len(batch) * max(sizes) <= 512
    real = sum(lengths)
    padded = sum(len(batch) * max(lengths[i] for i in batch) for batch in batches)
    assert padded < 1.05 * real


def test_a_text_longer_than_the_budget_is_a_batch_of_its_own() -> None:
    assert [batch.tolist() for batch in by_length([5, 900, 5], max_tokens=100, max_rows=8)] == [[1], [0, 2]]


def test_no_texts_give_no_batches() -> None:
    assert list(by_length([], max_tokens=100, max_rows=8)) == []


def test_results_keep_the_order_of_the_items() -> None:
    gate = threading.Event()

    def slow_first(item: int) -> int:
        if item == 0:
            gate.wait(5)
        elif item == 3:
            gate.set()
        return item * 10

    results = list(ordered_map(slow_first, range(6), workers=2, ahead=4))
    assert results == [(i, i * 10) for i in range(6)]


def test_an_endless_source_is_drawn_only_as_far_as_it_is_needed() -> None:
    drawn: list[int] = []

    def endless() -> Iterator[int]:
        for item in itertools.count():
            drawn.append(item)
            yield item

    results = ordered_map(str, endless(), workers=2, ahead=8)
    assert [item for item, _ in itertools.islice(results, 20)] == list(range(20))
    results.close()  # type: ignore[attr-defined]
    assert len(drawn) <= 20 + 8


def test_an_error_is_raised_at_its_item() -> None:
    results = ordered_map(lambda item: 1 // item, [2, 1, 0, 3], workers=2, ahead=4)
    assert [next(results), next(results)] == [(2, 0), (1, 1)]
    with pytest.raises(ZeroDivisionError):
        next(results)


def test_chunks_are_full_but_for_the_last() -> None:
    assert list(chunks(range(5), 2)) == [[0, 1], [2, 3], [4]]
