"""Engines that run a graph: one small protocol (base), one file an engine, imported when it is asked for."""

from babelclip.runtimes.base import (
    RUNTIMES,
    CachingRuntime,
    Runtime,
    RuntimePrecision,
    Session,
    capabilities,
    load_runtime,
)

__all__ = ["RUNTIMES", "CachingRuntime", "Runtime", "RuntimePrecision", "Session", "capabilities", "load_runtime"]
