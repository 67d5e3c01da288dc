"""Precision of a tower: what was requested, what the model supports, and what the processor is fast at."""

from dataclasses import dataclass
from pathlib import Path
from typing import Literal, get_args

from babelclip.errors import InputError, ModelError
from babelclip.runtimes import RuntimePrecision

Precision = Literal["auto", "float32", "bfloat16", "int8"]
PRECISIONS: tuple[str, ...] = get_args(Precision)
INT8_RUNTIMES = ("openvino", "onnxruntime")
"""Runtimes that have the operators of an int8 graph and run them faster."""
_CPU_INFO = Path("/proc/cpuinfo")
_DOT_PRODUCTS = frozenset(("avx512_vnni", "avx_vnni", "amx_int8", "asimddp", "i8mm"))
"""Linux's names of int8 dot products with 32-bit sums: x86 (VNNI, AMX) and Arm."""


def int8_hardware(cpu_info: Path = _CPU_INFO) -> bool | None:
    """Check whether the processor has int8 dot products. Others gain little from int8, and older x86 processors
    saturate sums at 16 bits.

    :param cpu_info: where Linux describes the processor
    :return: None if it cannot be determined
    """
    try:
        lines = cpu_info.read_text(encoding="utf-8", errors="replace").splitlines()
    except OSError:
        return None
    flags = next((line for line in lines if line.lower().startswith(("flags", "features"))), None)
    return None if flags is None else not _DOT_PRODUCTS.isdisjoint(flags.split())


@dataclass(frozen=True, slots=True)
class PrecisionPlan:
    """The resolved precision of a tower: whether its layers are int8, the precision of the rest, and the reason."""

    int8: bool
    rest: RuntimePrecision
    why: str

    @property
    def name(self) -> str:
        """One of PRECISIONS, never "auto"."""
        return "int8" if self.int8 else self.rest


def plan_precision(
    requested: Precision, runtime: str, *, calibrated: bool, capabilities: tuple[str, ...], int8: bool | None
) -> PrecisionPlan:
    """Resolve the precision of a tower.

    :param requested: the precision that the caller requested
    :param runtime: the runtime
    :param calibrated: whether the model has activation ranges
    :param capabilities: native number formats, as OpenVINO reports them; empty for other runtimes
    :param int8: the result of int8_hardware
    :return: the plan
    :raises InputError: if the precision is unknown, or the runtime does not support it
    :raises ModelError: if int8 is requested and the model has no activation ranges
    """
    if requested not in PRECISIONS:
        raise InputError(f"precision {requested!r} is not known; known are {', '.join(PRECISIONS)}")
    if requested == "int8":
        if runtime not in INT8_RUNTIMES:
            raise InputError(f"runtime {runtime} has no int8; {' and '.join(INT8_RUNTIMES)} have")
        if not calibrated:
            raise ModelError("the model was not calibrated for int8; make one that is with: babelclip quantize")
        return PrecisionPlan(True, "float32", "asked for")
    if requested in ("float32", "bfloat16"):
        return PrecisionPlan(False, requested, "asked for")
    if runtime not in INT8_RUNTIMES:
        return PrecisionPlan(False, "float32", f"{runtime} has nothing faster")
    if calibrated and int8 is not False:
        hardware = "the processor is made for it" if int8 else "it cannot be told whether the processor is made for it"
        return PrecisionPlan(True, "float32", f"the model is calibrated, and {hardware}")
    lacking = "the processor is not made for int8" if calibrated else "the model is not calibrated for int8"
    if "BF16" in capabilities:
        return PrecisionPlan(False, "bfloat16", f"the processor has it, and {lacking}")
    return PrecisionPlan(False, "float32", f"{lacking}, and the processor has no bfloat16")
