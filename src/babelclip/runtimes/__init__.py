"""Engines that run a graph: one small protocol (base), one file an engine, imported when it is asked for."""

from babelclip.runtimes.base import PRECISIONS, RUNTIMES, Precision, Runtime, Session, load_runtime

__all__ = ["PRECISIONS", "RUNTIMES", "Precision", "Runtime", "Session", "load_runtime"]
