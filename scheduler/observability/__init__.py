"""Logs, counters, and text that is safe to show."""
