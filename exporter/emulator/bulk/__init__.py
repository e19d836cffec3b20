"""Bulk jobs of the local Salesforce: their batches, how these are processed, and their results."""
