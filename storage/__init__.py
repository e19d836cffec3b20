"""The only truth: definitions, slots, runs, ledgers and rejected rows, in SQLite or PostgreSQL.

Its face is ``database``.
"""
