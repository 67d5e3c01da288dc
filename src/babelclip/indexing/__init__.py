"""Brings a catalog up to date with folders."""
