"""Stores: what holds the vectors of a collection and finds the nearest. One file an engine."""

from babelclip.stores.base import DEEPEST, Entry, Match, ModelFacts, Store, StoreProgress
from babelclip.stores.open import open_store

__all__ = ["DEEPEST", "Entry", "Match", "ModelFacts", "Store", "StoreProgress", "open_store"]
