"""A result beside what the target is known to hold: staged on disk, compared, and remembered as a snapshot."""
