"""Compares the speed of two models, each in processes of its own that take turns.

    python tools/compare_speed.py OLD NEW --out speed.json

Texts are short sentences in many scripts, pictures are noise: only their number and size matter.
"""

import argparse
import json
import statistics
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

import numpy as np
from PIL import Image

from babelclip.benchmark.samples import SCRIPTS
from babelclip.models.model import Model

ROUNDS = 5
SECONDS = 4.0
"""A task is repeated for so long in every round."""
BATCH_TEXTS, BATCH_IMAGES = 128, 32
PICTURE_SIDE = 300
"""Pixels; the same for both, near what the encoders read."""


def main() -> None:
    """Compare what the command line names, or run one round of one model."""
    parser = argparse.ArgumentParser(description="Compare the speed of two models.")
    parser.add_argument("models", type=Path, nargs="+", help="the old and the new folder; with --round, one folder")
    parser.add_argument("--out", type=Path, help="the JSON file to write")
    parser.add_argument("--round", action="store_true", help="measure one model and print medians in ms as JSON")
    arguments = parser.parse_args()
    if arguments.round:
        print(json.dumps(measure(Model.load(arguments.models[0]))))  # noqa: T201
        return
    found: list[list[dict[str, float]]] = [[], []]
    for _ in range(ROUNDS):
        for rows, folder in zip(found, arguments.models, strict=True):
            done = subprocess.run([sys.executable, __file__, "--round", folder], capture_output=True, check=True)
            rows.append(json.loads(done.stdout))
    old, new = ({task: statistics.median(row[task] for row in rows) for task in rows[0]} for rows in found)
    table = [{"task": task, "old": old[task], "new": new[task]} for task in old]
    arguments.out.write_text(json.dumps(table, indent=1) + "\n", encoding="utf-8")


def measure(model: Model) -> dict[str, float]:
    """Time the tasks.

    :param model: a pair.
    :return: milliseconds by task, medians.
    """
    samples = list(SCRIPTS.values())
    texts = [f"{samples[i % len(samples)]} {i}" for i in range(BATCH_TEXTS)]
    rng = np.random.default_rng(0)
    noise = rng.integers(0, 256, (PICTURE_SIDE, PICTURE_SIDE, 3), dtype=np.uint8)
    pictures = [Image.fromarray(noise)] * BATCH_IMAGES
    return {
        f"{BATCH_TEXTS} texts": _median(lambda: model.encode_text(texts)),
        "one query": _median(lambda: model.encode_text(texts[:1])),
        f"{BATCH_IMAGES} pictures of {PICTURE_SIDE} pixels": _median(lambda: model.encode_images(pictures)),
    }


def _median(task: Callable[[], object]) -> float:
    """Milliseconds."""
    task()
    times = []
    end = time.perf_counter() + SECONDS
    while time.perf_counter() < end:
        start = time.perf_counter()
        task()
        times.append(1000 * (time.perf_counter() - start))
    return statistics.median(times)


if __name__ == "__main__":
    main()
