"""The local Salesforce: an org in one SQLite file, served over HTTP. Its face is ``server.Emulator``."""
