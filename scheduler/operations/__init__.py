"""What people can do, whichever way they ask: the command line and the web call the same functions."""

from scheduler.operations.jobs import sync_file_jobs

__all__ = ["sync_file_jobs"]
