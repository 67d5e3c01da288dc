"""What tests of neighbours share: opening them with a low limit of exact search, and recall."""

from typing import Any

import numpy as np

from babelclip.catalog.catalog import Catalog
from babelclip.stores.sqlite_ann import CatalogNeighbours
from babelclip.vectors import FloatArray
from tests.helpers.clustered import DIMENSION, clustered

NEVER = 10**9
"""Vectors beyond which a graph is built: never."""


def texts() -> list[FloatArray]:
    return [clustered(7, 100)]


def reader(catalog: Catalog, exact_up_to: int = 1000) -> CatalogNeighbours:
    """Neighbours that have read the catalog and built nothing."""
    neighbours = CatalogNeighbours(catalog.vectors, DIMENSION, exact_up_to=exact_up_to)
    neighbours.refresh()
    return neighbours


def maintained(catalog: Catalog) -> CatalogNeighbours:
    """Neighbours whose graph is up to date."""
    neighbours = CatalogNeighbours(catalog.vectors, DIMENSION, exact_up_to=1000)
    neighbours.maintain(texts)
    neighbours.refresh()
    return neighbours


def recall(neighbours: CatalogNeighbours, exact: CatalogNeighbours, **options: Any) -> float:
    """Recall@10 of sixty queries."""
    queries = clustered(5, 60)
    nearest, _ = neighbours.search(queries, 10, **options)
    truth, _ = exact.search(queries, 10, **options)
    return float(np.mean([len(set(a) & set(b)) / 10 for a, b in zip(nearest, truth, strict=True)]))
