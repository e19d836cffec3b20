"""The daemon: its chores and the state of its process. Its face is ``daemon.Daemon``."""
