"""Treasure Data: a job is issued, waited for and read."""
