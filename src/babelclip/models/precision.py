"""In what a tower calculates: what was asked for, what the model has, and what the processor is good at."""

from dataclasses import dataclass
from pathlib import Path
from typing import Literal, get_args

from babelclip.errors import InputError, ModelError
from babelclip.runtimes import RuntimePrecision

Precision = Literal["auto", "float32", "bfloat16", "int8"]
PRECISIONS: tuple[str, ...] = get_args(Precision)
INT8_RUNTIMES = ("openvino", "onnxruntime")
"""Engines that know the operators of an int8 graph, and are faster for it."""
_CPU_INFO = Path("/proc/cpuinfo")
_DOT_PRODUCTS = frozenset(("avx512_vnni", "avx_vnni", "amx_int8", "asimddp", "i8mm"))
"""Linux's words for processors that add products of bytes in 32 bits: x86 (VNNI, AMX) and Arm."""


def int8_hardware(cpu_info: Path = _CPU_INFO) -> bool | None:
    """Whether the processor adds products of bytes without loss. Others are little faster in int8 than in float32, and
    older x86 ones cut sums off at 16 bits.

    :param cpu_info: where Linux describes the processor
    :return: None where it cannot be told
    """
    try:
        lines = cpu_info.read_text(encoding="utf-8", errors="replace").splitlines()
    except OSError:
        return None
    said = next((line for line in lines if line.lower().startswith(("flags", "features"))), None)
    return None if said is None else not _DOT_PRODUCTS.isdisjoint(said.split())


@dataclass(frozen=True, slots=True)
class PrecisionPlan:
    """Whether the layers are int8, in what the rest is calculated, and why."""

    int8: bool
    rest: RuntimePrecision
    why: str

    @property
    def name(self) -> str:
        """One of PRECISIONS, never "auto"."""
        return "int8" if self.int8 else self.rest


def choose(
    asked: Precision, runtime: str, *, calibrated: bool, capabilities: tuple[str, ...], int8: bool | None
) -> PrecisionPlan:
    """Choose the precision of a tower.

    :param asked: what was asked for
    :param runtime: the engine
    :param calibrated: whether the model has what int8 takes
    :param capabilities: what the processor does natively, as OpenVINO says it; empty for other engines
    :param int8: as int8_hardware says it
    :return: the choice
    :raises InputError: if it is not known, or the engine cannot do it
    :raises ModelError: if int8 is asked for and the model was not calibrated
    """
    if asked not in PRECISIONS:
        raise InputError(f"precision {asked!r} is not known; known are {', '.join(PRECISIONS)}")
    if asked == "int8":
        if runtime not in INT8_RUNTIMES:
            raise InputError(f"runtime {runtime} has no int8; {' and '.join(INT8_RUNTIMES)} have")
        if not calibrated:
            raise ModelError("the model was not calibrated for int8; make one that is with: babelclip quantize")
        return PrecisionPlan(True, "float32", "asked for")
    if asked in ("float32", "bfloat16"):
        return PrecisionPlan(False, asked, "asked for")
    if runtime not in INT8_RUNTIMES:
        return PrecisionPlan(False, "float32", f"{runtime} has nothing faster")
    if calibrated and int8 is not False:
        told = "the processor is made for it" if int8 else "it cannot be told whether the processor is made for it"
        return PrecisionPlan(True, "float32", f"the model is calibrated, and {told}")
    lacking = "the processor is not made for int8" if calibrated else "the model is not calibrated for int8"
    if "BF16" in capabilities:
        return PrecisionPlan(False, "bfloat16", f"the processor has it, and {lacking}")
    return PrecisionPlan(False, "float32", f"{lacking}, and the processor has no bfloat16")
