"""Stores: what holds the vectors of a collection and finds the nearest. One file an engine."""

from babelclip.stores.base import (
    DEEPEST,
    Match,
    ModelIdentity,
    QuerySource,
    Store,
    StoreProgress,
    StoreRecord,
    no_queries,
)
from babelclip.stores.open import open_store

__all__ = [
    "DEEPEST",
    "Match",
    "ModelIdentity",
    "QuerySource",
    "Store",
    "StoreProgress",
    "StoreRecord",
    "no_queries",
    "open_store",
]
