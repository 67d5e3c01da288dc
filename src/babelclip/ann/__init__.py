"""Nearest neighbours of arrays: exact, and by a graph (HNSW). Knows no catalog."""
