"""Calls of Salesforce's APIs, one module for each, and what they answer as values. Their face is ``client.Client``."""
