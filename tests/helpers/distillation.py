"""A short distillation by command, and its log."""

import json
from pathlib import Path


def losses(out: Path) -> dict[int, float]:
    entries = [json.loads(line) for line in (out / "log.jsonl").read_text(encoding="utf-8").splitlines()]
    return {entry["step"]: entry["loss"] for entry in entries if "loss" in entry}


def command(inputs: Path, out: Path, *more: object) -> list[str]:
    fixed = ("--samples", 2560, "--batch", 32, "--held-out", 20, "--evaluate-every", 20, "--layers", 1)
    parts = (
        "distill",
        out,
        "--teacher",
        inputs / "teacher",
        "--student",
        inputs / "bert",
        "--pairs",
        inputs / "pairs",
    )
    return [str(part) for part in (*parts, *fixed, *more)]
