"""Stores hold the vectors of a collection and find the nearest; one module per engine."""

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
