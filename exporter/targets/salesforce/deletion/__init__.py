"""Records that an export deletes: before a truncate, and after a mirror."""
