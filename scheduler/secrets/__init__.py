"""Secrets behind references, and how they are kept out of texts. Its face is ``resolve``."""
