"""Duplicates, clusters and projections of a collection."""
