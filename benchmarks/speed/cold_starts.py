"""Cold starts: whole processes in turn, from their start to their end. The files stay in the system's cache.

babelclip's modules are compiled beforehand, as pip compiles what it installs: an editable install, or an environment
that writes no bytecode, would compile them at every start.
"""

import compileall
import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Mapping, Sequence
from functools import partial
from pathlib import Path

import babelclip
from babelclip.benchmark.machine import Watch
from babelclip.benchmark.rounds import quietest
from babelclip.models.model import Model
from babelclip.pipeline import LogCallback
from benchmarks.speed.babelclip_adapter import fill_index
from benchmarks.speed.engines import CHOSEN, IMPORTING, IMPORTING_MODEL, MINI, EngineAdapter
from benchmarks.speed.fixtures import Fixtures
from benchmarks.speed.processes import LeftOut, Round, Samples
from benchmarks.speed.work import HITS

TASK = "start"
QUERY = "a dog on the beach"
_TIMED = "import time; start = time.perf_counter(); {}; print(time.perf_counter() - start)"
_IMPORTS = {IMPORTING: "import babelclip", IMPORTING_MODEL: "from babelclip import Index, Model"}
_THEIRS = """
import sys
import numpy as np
from sentence_transformers import SentenceTransformer, util
model = SentenceTransformer(sys.argv[1], device="cpu", local_files_only=True)
vector = model.encode([sys.argv[3]], show_progress_bar=False)
print(util.semantic_search(vector, np.load(sys.argv[2]), top_k=int(sys.argv[4])))
"""


def run_cold_starts(
    engines: Sequence[EngineAdapter],
    fixtures: Fixtures,
    *,
    rounds: int,
    photos: int,
    pythons: Mapping[str, str],
    say: LogCallback,
) -> tuple[list[Samples], list[LeftOut]]:
    """Start processes in turn; each once before it counts.

    :param engines: which
    :param fixtures: what they work on
    :param rounds: how often each is started
    :param photos: how many the index holds
    :param pythons: interpreters of engines that have an environment of their own
    :param say: is told what is under way
    :return: what was measured, and who was left out
    """
    turns: dict[str, list[Round]] = {engine.name: [] for engine in engines}
    left: dict[str, LeftOut] = {}
    compileall.compile_dir(babelclip.__path__[0], quiet=2)
    with tempfile.TemporaryDirectory(prefix="babelclip-benchmark-") as scratch:
        runs: dict[str, Callable[[], float]] = {}
        for engine in engines:
            runs[engine.name] = _run(engine, fixtures, Path(scratch), photos, pythons.get(engine.name, sys.executable))
        for number in range(rounds + 1):
            for name, run in runs.items():
                if name in left:
                    continue
                say(f"{TASK}, round {number} of {rounds}: {name}")
                try:
                    turn = quietest(partial(_turn, run))
                except subprocess.CalledProcessError as error:
                    said = error.stderr.strip().splitlines()
                    left[name] = LeftOut(TASK, name, said[-1] if said else f"it ended with code {error.returncode}")
                    continue
                if number:
                    turns[name].append(turn)
    samples = [
        Samples(
            TASK,
            name,
            1,
            tuple(turn.values for turn in own),
            others=tuple(turn.others for turn in own if turn.others is not None),
        )
        for name, own in turns.items()
        if name not in left
    ]
    return samples, list(left.values())


def _turn(run: Callable[[], float]) -> Round:
    """One start."""
    watch, before = Watch(), os.times()
    seconds = run()
    after = os.times()
    own = sum(b - a for a, b in zip(before[:4], after[:4], strict=True))
    return Round((seconds,), watch.others(own))


def _run(engine: EngineAdapter, fixtures: Fixtures, scratch: Path, photos: int, python: str) -> Callable[[], float]:
    """What starts an engine once and gives the seconds that count."""
    if engine.name in _IMPORTS:
        code = _TIMED.format(_IMPORTS[engine.name])
        return lambda: float(_ended([python, "-c", code]))
    if engine.name in (MINI, CHOSEN):
        model = Model.load() if engine.name == MINI else Model.load(fixtures.pair)
        index = scratch / f"{engine.name}.bc"
        fill_index(index, model, photos)
        command = [python, "-m", "babelclip", "search", QUERY, "--index", str(index), "--top", str(HITS), "--json"]
        return lambda: _wall(command if engine.name == MINI else [*command, "--model", str(fixtures.pair)])
    vectors = scratch / "vectors.npy"
    _save_vectors(vectors, fixtures, photos)
    return lambda: _wall([python, "-c", _THEIRS, str(fixtures.text), str(vectors), QUERY, str(HITS)])


def _save_vectors(path: Path, fixtures: Fixtures, photos: int) -> None:
    """Random unit vectors of the pair's dimension."""
    import numpy as np

    from babelclip.vectors import unit_rows

    dimension = Model.load(text=fixtures.text).dimension
    np.save(path, unit_rows(np.random.default_rng(0).standard_normal((photos, dimension), dtype=np.float32)))


def _ended(command: Sequence[str]) -> str:
    """What a process that must succeed writes."""
    return subprocess.run(command, capture_output=True, encoding="utf-8", check=True).stdout


def _wall(command: Sequence[str]) -> float:
    """Seconds from the start of a process to its end."""
    start = time.perf_counter()
    _ended(command)
    return time.perf_counter() - start
