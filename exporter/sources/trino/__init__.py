"""Trino, over its HTTP protocol."""
