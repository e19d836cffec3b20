"""Stored jobs: their definitions, those that were removed, and what their targets hold."""
