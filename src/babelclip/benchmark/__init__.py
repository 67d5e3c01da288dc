"""Measurements that are commands: parity with the reference implementation."""
