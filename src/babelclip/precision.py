"""In what a tower calculates: what was asked for, what the model has, and what the processor is good at."""

from dataclasses import dataclass
from typing import Literal, get_args

from babelclip.errors import InputError, ModelError
from babelclip.runtimes import Precision as EnginePrecision

Precision = Literal["auto", "float32", "bfloat16", "int8"]
PRECISIONS: tuple[str, ...] = get_args(Precision)
INT8_RUNTIMES = ("openvino", "onnxruntime")
"""Engines that know the operators of an int8 graph, and are faster for it."""


@dataclass(frozen=True, slots=True)
class Choice:
    """Whether the layers are int8, in what the rest is calculated, and why."""

    int8: bool
    rest: EnginePrecision
    why: str

    @property
    def name(self) -> str:
        """One of PRECISIONS, never "auto"."""
        return "int8" if self.int8 else self.rest


def choose(asked: Precision, runtime: str, *, calibrated: bool, capabilities: tuple[str, ...]) -> Choice:
    """Choose the precision of a tower.

    :param asked: what was asked for
    :param runtime: the engine
    :param calibrated: whether the model has what int8 takes
    :param capabilities: what the processor does natively, as OpenVINO says it; empty for other engines
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
        return Choice(True, "float32", "asked for")
    if asked in ("float32", "bfloat16"):
        return Choice(False, asked, "asked for")
    if runtime not in INT8_RUNTIMES:
        return Choice(False, "float32", f"{runtime} has nothing faster")
    if calibrated:
        return Choice(True, "float32", "the model is calibrated")
    if "BF16" in capabilities:
        return Choice(False, "bfloat16", "the processor has it, and the model is not calibrated for int8")
    return Choice(False, "float32", "the model is not calibrated for int8, and the processor has no bfloat16")
