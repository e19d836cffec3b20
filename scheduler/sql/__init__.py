"""Values and Treasure Data's functions in queries: their face is ``bind``. Pure."""
