"""The result of a query on disk, in batches, until the target has all of it. Its face is ``spool.Spool``."""
