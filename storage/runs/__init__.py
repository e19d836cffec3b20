"""Stored runs: inserted, claimed, their ledger, their rejected rows."""
