"""The config file: found, read, checked, edited and compared. Its face is ``build``."""
