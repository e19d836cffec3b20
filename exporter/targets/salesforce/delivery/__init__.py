"""Batches on their way: sent, waited for, matched with their results, and what the ledger proves of them."""
