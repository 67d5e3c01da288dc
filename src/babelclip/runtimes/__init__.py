"""Engines that run a graph: one small protocol (base), one file an engine, imported when it is asked for."""

from babelclip.runtimes.base import RUNTIMES, KeepingRuntime, Precision, Runtime, Session, capabilities, load_runtime

__all__ = ["RUNTIMES", "KeepingRuntime", "Precision", "Runtime", "Session", "capabilities", "load_runtime"]
