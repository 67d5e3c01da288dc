"""Batches of texts by length, and a bounded pipeline that decodes pictures while others are encoded."""

import itertools
from collections import deque
from collections.abc import Callable, Iterable, Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from typing import TypeVar

import numpy as np
from numpy.typing import NDArray

LogCallback = Callable[[str], None]
"""Receives one line of text on what a long operation does now."""

Item = TypeVar("Item")
Result = TypeVar("Result")


def by_length(lengths: Sequence[int], *, max_tokens: int, max_rows: int) -> Iterator[NDArray[np.int64]]:
    """Group texts of similar length into batches, to reduce padding.

    :param lengths: tokens of each text
    :param max_tokens: maximum tokens of a batch, padding included; a batch of one text may have more
    :param max_rows: maximum texts of a batch
    :yield: int64 (rows,) positions of the texts of a batch, longest texts first of all
    """
    order = np.argsort(-np.asarray(lengths, dtype=np.int64), kind="stable")
    start = 0
    while start < len(order):
        longest = max(1, lengths[order[start]])
        rows = max(1, min(max_rows, max_tokens // longest))
        yield order[start : start + rows]
        start += rows


def ordered_map(
    function: Callable[[Item], Result], items: Iterable[Item], *, workers: int, ahead: int
) -> Iterator[tuple[Item, Result]]:
    """Apply a function in threads and yield the results in order, with at most ``ahead`` of them in memory.

    Items are drawn as needed, so the source may be endless. Leaving the loop early stops the work. Each result comes
    with its item, so identify a result by its item, not by its position.

    :param function: function of one item; its errors are raised here, at its item
    :param items: the items
    :param workers: number of threads
    :param ahead: maximum number of waiting results
    :yield: an item and its result
    """
    source = iter(items)
    with ThreadPoolExecutor(workers, thread_name_prefix="babelclip") as pool:
        waiting: deque[tuple[Item, Future[Result]]] = deque()
        try:
            for item in itertools.islice(source, ahead):
                waiting.append((item, pool.submit(function, item)))
            while waiting:
                item, future = waiting.popleft()
                yield item, future.result()
                for following in itertools.islice(source, 1):
                    waiting.append((following, pool.submit(function, following)))
        finally:
            for _, future in waiting:
                future.cancel()


def chunks(items: Iterable[Item], size: int) -> Iterator[list[Item]]:
    """Split items into lists of up to ``size``.

    :param items: the items
    :param size: maximum length of a list
    :yield: lists of items, in order
    """
    source = iter(items)
    while chunk := list(itertools.islice(source, size)):
        yield chunk
