"""Measurements of babelclip against other libraries; run from the root of the repository, not installed."""
