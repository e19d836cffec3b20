"""Exports of changed rows only: what was sent before, compared with a new result. Begin with ``staging``."""
