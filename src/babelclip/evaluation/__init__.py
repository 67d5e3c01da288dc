"""Measuring a model on pictures with captions, by language."""
