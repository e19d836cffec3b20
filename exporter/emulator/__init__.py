"""The local Salesforce: an org in one SQLite file, served over HTTP on this machine."""
