"""The machine that a measurement was made on."""

import os
import platform
import time
from collections.abc import Sequence
from dataclasses import dataclass
from importlib import metadata
from pathlib import Path

from babelclip import __version__
from babelclip.errors import InputError

TOLD_FLAGS = ("avx2", "avx512f", "avx512_vnni", "avx_vnni", "avx512_bf16", "amx_bf16", "amx_int8", "asimddp", "i8mm")
"""Instruction sets that decide how fast a tower is."""
TOLD_PACKAGES = (
    "numpy",
    "onnx",
    "openvino",
    "onnxruntime",
    "faiss-cpu",
    "pillow",
    "tokenizers",
    "torch",
    "transformers",
    "sentence-transformers",
)
MEBIBYTE_KIBIBYTES = 1024
_BUSY = slice(1, 4), slice(6, 9)
"""Of the first line of /proc/stat: user, nice, system; interrupts, and what a hypervisor gave to others."""


@dataclass(frozen=True, slots=True)
class Machine:
    """Processor, those of TOLD_FLAGS that it has, cores, memory in GiB, system, and versions by name."""

    processor: str
    flags: tuple[str, ...]
    cores: int
    memory_gib: float
    system: str
    versions: dict[str, str]


def this_machine(packages: Sequence[str] = TOLD_PACKAGES) -> Machine:
    """What can be told of this machine.

    :param packages: whose versions are told, where they are installed
    :return: its description
    """
    lines = _processor_lines()
    flags = set(" ".join(value for key, value in lines if key in ("flags", "Features")).split())
    names = [value for key, value in lines if key == "model name"]
    return Machine(
        processor=names[0] if names else platform.processor() or platform.machine(),
        flags=tuple(flag for flag in TOLD_FLAGS if flag in flags),
        cores=cores(),
        memory_gib=round(os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES") / 2**30, 1),
        system=f"{platform.system()} {platform.machine()}",
        versions={"babelclip": __version__, "python": platform.python_version(), **_versions(packages)},
    )


def machine_lines(machine: Machine) -> list[str]:
    """A machine in words, for a page.

    :param machine: which
    :return: a paragraph on the machine and one on versions
    """
    versions = ", ".join(f"{name} {version}" for name, version in machine.versions.items())
    return [
        f"Machine: {machine.processor}, {machine.cores} cores, {', '.join(machine.flags) or 'no flags known'}, "
        f"{machine.memory_gib} GiB, {machine.system}.",
        f"Versions: {versions}.",
    ]


def cores() -> int:
    """How many cores this process may use.

    :return: the number
    """
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


def resident_mebibytes(process: int | None = None) -> float:
    """How much memory of a process is resident, as the system counts it.

    :param process: its number; None is this one
    :return: MiB
    :raises InputError: if the system does not say
    """
    try:
        lines = Path(f"/proc/{process or 'self'}/status").read_text(encoding="ascii").splitlines()
    except OSError:
        raise InputError("resident memory can be read on Linux alone") from None
    (line,) = [line for line in lines if line.startswith("VmRSS:")]
    return int(line.split()[1]) / MEBIBYTE_KIBIBYTES


def spent_seconds(process: int) -> float:
    """How long a process has kept processors busy since it started.

    :param process: its number
    :return: seconds; 0 where the system does not say
    """
    try:
        words = Path(f"/proc/{process}/stat").read_text(encoding="ascii", errors="replace").rpartition(")")[2].split()
    except OSError:
        return 0.0
    return sum(map(int, words[11:13])) / os.sysconf("SC_CLK_TCK")


def busy_seconds() -> float | None:
    """How long all cores together have been busy since the machine started, with whatever it was.

    :return: seconds, or None where the system does not say
    """
    try:
        words = Path("/proc/stat").read_text(encoding="ascii").split("\n", 1)[0].split()
    except OSError:
        return None
    ticks = sum(int(word) for part in _BUSY for word in words[part])
    return ticks / os.sysconf("SC_CLK_TCK")


class Watch:
    """Tells what part of the machine others took from a moment on."""

    def __init__(self) -> None:
        self._wall, self._busy = time.perf_counter(), busy_seconds()

    def others(self, own: float) -> float | None:
        """The part that others took since then.

        :param own: seconds that what is measured kept cores busy
        :return: 0 to 1, or None where the system does not say
        """
        wall, busy = time.perf_counter() - self._wall, busy_seconds()
        if busy is None or self._busy is None:
            return None
        return min(1.0, max(0.0, (busy - self._busy - own) / (wall * cores())))


def _processor_lines() -> list[tuple[str, str]]:
    """What Linux says of the processors; nothing elsewhere."""
    try:
        text = Path("/proc/cpuinfo").read_text(encoding="utf-8", errors="replace")
    except OSError:
        return []
    pairs = (line.partition(":") for line in text.splitlines())
    return [(key.strip(), value.strip()) for key, _, value in pairs]


def _versions(packages: Sequence[str]) -> dict[str, str]:
    """The versions of those packages that are installed."""
    found = {}
    for name in packages:
        try:
            found[name] = metadata.version(name)
        except metadata.PackageNotFoundError:
            continue
    return found
