"""The Salesforce target: Bulk API 1.0 with CSV, every effect in the ledger, every row accounted for."""
