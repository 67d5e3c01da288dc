"""Batches of texts by length, and the bounded pipeline that decodes pictures while others are encoded."""

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
    """Batches of texts of similar length, so that little is padded.

    :param lengths: tokens of each text
    :param max_tokens: the most tokens a batch may have, padding included; one text alone may have more
    :param max_rows: the most texts a batch may have
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
    """Apply a function in threads, give the results in order, and hold no more than ``ahead`` of them.

    Items are drawn as they are needed, so an endless source is fine. Leaving the loop early stops the work.

    :param function: what to do with an item; what it raises is raised here, at its item
    :param items: the items
    :param workers: threads
    :param ahead: results that may wait
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
    """Lists of up to ``size`` items.

    :param items: the items
    :param size: how many a list
    :yield: the items, list by list
    """
    source = iter(items)
    while chunk := list(itertools.islice(source, size)):
        yield chunk
