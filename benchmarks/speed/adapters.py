"""Engines opened in this process.

What needs babelclip's packages is imported where it is used: another engine's environment may lack them.
"""

from dataclasses import replace
from functools import partial
from typing import Any

import numpy as np

from babelclip.errors import BabelclipError, InputError
from benchmarks.speed.engines import EngineAdapter
from benchmarks.speed.fixtures import EXACT_TASKS, REAL, Fixtures
from benchmarks.speed.other_libraries import open_library, search_by_hand
from benchmarks.speed.work import Work, encoding_work

TRIAL_RUNS = 3


def open_work(engine: EngineAdapter, task: str, fixtures: Fixtures) -> Work:
    """Load an engine and make a task of it ready.

    :param engine: the engine
    :param task: one of its tasks
    :param fixtures: what it works on
    :return: the task
    :raises BabelclipError: if the engine cannot be used
    :raises ImportError: if a package of it is not installed
    """
    if engine.family == "product":
        return _product(engine, small=fixtures.counts != REAL)
    if engine.family == "service":
        from benchmarks.speed.babelclip_adapter import open_service

        return open_service(engine, fixtures)
    if engine.family == "babelclip":
        from benchmarks.speed.babelclip_adapter import open_babelclip

        work = open_babelclip(engine, task, fixtures)
    elif engine.family == "nncf":
        from benchmarks.speed.nncf_graphs import open_nncf

        work = encoding_work(open_nncf(task, fixtures), task, fixtures)
    elif task == "search":
        work = search_by_hand(fixtures)
    else:
        work = encoding_work(open_library(engine, task, fixtures), task, fixtures)
    rounded = engine.precision == "int8" and task in EXACT_TASKS
    return replace(work, note=_cosines_note(work, fixtures, task)) if rounded else work


def _cosines_note(work: Work, fixtures: Fixtures, task: str) -> str:
    """How near vectors in int8 are to those of float32."""
    exact = np.load(fixtures.exact(task))
    given = fixtures.exact_texts() if task == "text" else fixtures.pictures(square=True)
    cosines = (exact * np.asarray(work.run(given))).sum(axis=1)
    return f"cosine with float32 at least {cosines.min():.4f}, on average {cosines.mean():.4f}, of {len(cosines)} rows"


def _product(engine: EngineAdapter, *, small: bool) -> Work:
    """The matrix product that reaches most, of several sizes."""
    import time

    from babelclip.runtimes import capabilities, load_runtime
    from benchmarks.speed.matrix_products import SHAPES, SMALL_SHAPES, product_flops, product_graph

    if engine.precision == "bfloat16" and "BF16" not in capabilities(engine.runtime):
        raise BabelclipError("the processor has no bfloat16")
    int8 = engine.precision == "int8"
    rest: Any = "float32" if int8 else engine.precision
    best: tuple[float, Work] | None = None
    for rows, inner, outer in SMALL_SHAPES if small else SHAPES:
        graph = product_graph(rows, inner, outer, int8=int8)
        session = load_runtime(engine.runtime).compile(graph, precision=rest, threads=0)
        x = np.random.default_rng(1).standard_normal((rows, inner), dtype=np.float32)
        session.run({"x": x})
        start = time.perf_counter()
        for _ in range(TRIAL_RUNS):
            session.run({"x": x})
        seconds = (time.perf_counter() - start) / TRIAL_RUNS
        flops = product_flops(rows, inner, outer)
        if best is None or flops / seconds > best[0]:
            inputs = partial(_same, {"x": x})
            best = flops / seconds, Work(1, inputs, session.run, flops, f"{rows} x {inner} x {outer}")
    if best is None:
        raise InputError("no size of matrix was tried")
    return best[1]


def _same(inputs: Any, call: int) -> Any:
    """The same inputs for every call."""
    return inputs
