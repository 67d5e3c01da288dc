"""The index that autofaiss chooses, as a baseline of ``measure_sizes``: built and searched by another interpreter."""

import json
import subprocess
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np

from babelclip.benchmark.search import SizeRow, Workload, milliseconds, recalls
from babelclip.errors import InputError
from babelclip.vectors import unit_rows
from benchmarks.search import autofaiss_choice
from benchmarks.search.autofaiss_choice import FOUND, SECONDS

LONGEST_SECONDS = 600
"""The threshold of an index build; autofaiss gets no more."""


def autofaiss_baseline(python: Path, left_out: Callable[[str], None]) -> Callable[[Workload, SizeRow], SizeRow | None]:
    """Return a baseline that measures the choice of autofaiss.

    :param python: the interpreter of an environment that has autofaiss
    :param left_out: receives why there is no row, if it fails or takes over LONGEST_SECONDS
    :return: the baseline
    """

    def measure(workload: Workload, row: SizeRow) -> SizeRow | None:
        try:
            return _measure(workload, row, python)
        except InputError as error:
            left_out(f"{row.vectors} vectors: {error}")
            return None

    return measure


def _measure(workload: Workload, row: SizeRow, python: Path) -> SizeRow:
    """Measure the same vectors and queries in a process of its own."""
    folder = workload.catalog.path.parent / "autofaiss"
    (folder / "vectors").mkdir(parents=True)
    ids = []
    for i, (some, vectors) in enumerate(workload.catalog.vectors.vectors_since(0)):
        np.save(folder / f"vectors/{i:06}.npy", unit_rows(vectors))
        ids.append(some)
    np.save(folder / "queries.npy", workload.queries)
    measured: dict[str, Any] = {}
    for step in ("build", "ask"):
        command = [str(python), autofaiss_choice.__file__, step, str(folder)]
        try:
            run = subprocess.run(command, capture_output=True, encoding="utf-8", check=False, timeout=LONGEST_SECONDS)
        except subprocess.TimeoutExpired:
            raise InputError(f"autofaiss could not {step} its index in {LONGEST_SECONDS} seconds") from None
        if run.returncode != 0:
            last = (run.stderr.strip().splitlines() or ["nothing was said"])[-1]
            raise InputError(f"{python} could not {step} autofaiss' index: {last}; autofaiss must be installed there")
        measured |= json.loads(run.stdout.splitlines()[-1])
    rows, seconds = np.load(folder / FOUND), np.load(folder / SECONDS)
    found = np.where(rows >= 0, np.concatenate(ids)[rows], -1)
    text_recall, image_recall = recalls(list(found), workload.truth, workload.texts)
    text_p50, text_p95, image_p50 = milliseconds(seconds, workload.texts)
    return replace(
        row,
        filtered=(),
        text_recall=text_recall,
        image_recall=image_recall,
        text_p50_ms=text_p50,
        text_p95_ms=text_p95,
        image_p50_ms=image_p50,
        **measured,
    )
