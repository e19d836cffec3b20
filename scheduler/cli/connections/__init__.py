"""The commands about connections: add one, and log in to an org."""
