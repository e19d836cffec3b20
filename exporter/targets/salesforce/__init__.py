"""The Salesforce target, over Bulk API 1.0 or 2.0: every effect is in the ledger, every row accounted for.

Its face is ``target``.
"""
