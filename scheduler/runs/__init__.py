"""One run from its claim to its end. Its face is ``runner.perform``."""
