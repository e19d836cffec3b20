"""The org behind the local Salesforce: its schema, its records and the rules for them. Its face is ``org.Org``."""
