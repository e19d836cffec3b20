"""Errors of operations, and faults of settings in words."""
