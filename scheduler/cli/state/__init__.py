"""The state database for commands: the session that most use, and the fast reads of those that only look."""
