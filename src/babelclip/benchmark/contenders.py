"""Engines opened in this process.

What needs babelclip's packages is imported where it is used: another engine's environment may lack them.
"""

from dataclasses import replace
from functools import partial
from typing import Any

import numpy as np

from babelclip.benchmark.engines import Engine
from babelclip.benchmark.materials import EXACT_TASKS, REAL, Materials
from babelclip.benchmark.rivals import open_rival, search_by_hand
from babelclip.benchmark.work import Work, encoding_work
from babelclip.errors import BabelclipError, InputError

TRIAL_RUNS = 3


def open_work(engine: Engine, task: str, materials: Materials) -> Work:
    """Load an engine and make a task of it ready.

    :param engine: the engine
    :param task: one of its tasks
    :param materials: what it works on
    :return: the task
    :raises BabelclipError: if the engine cannot be used
    :raises ImportError: if a package of it is not installed
    """
    if engine.family == "product":
        return _product(engine, small=materials.counts != REAL)
    if engine.family == "service":
        from babelclip.benchmark.ours import open_service

        return open_service(engine, materials)
    if engine.family == "babelclip":
        from babelclip.benchmark.ours import open_babelclip

        work = open_babelclip(engine, task, materials)
    elif engine.family == "nncf":
        from babelclip.benchmark.nncf_graphs import open_nncf

        work = encoding_work(open_nncf(task, materials), task, materials)
    elif task == "search":
        work = search_by_hand(materials)
    else:
        work = encoding_work(open_rival(engine, task, materials), task, materials)
    rounded = engine.precision == "int8" and task in EXACT_TASKS
    return replace(work, note=_nearness(work, materials, task)) if rounded else work


def _nearness(work: Work, materials: Materials, task: str) -> str:
    """How near vectors in int8 are to those of float32."""
    exact = np.load(materials.exact(task))
    given = materials.exact_texts() if task == "text" else materials.pictures(square=True)
    cosines = (exact * np.asarray(work.run(given))).sum(axis=1)
    return f"cosine with float32 at least {cosines.min():.4f}, on average {cosines.mean():.4f}, of {len(cosines)} rows"


def _product(engine: Engine, *, small: bool) -> Work:
    """The matrix product that reaches most, of several sizes."""
    import time

    from babelclip.benchmark.products import SHAPES, SMALL_SHAPES, product_flops, product_graph
    from babelclip.runtimes import capabilities, load_runtime

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
