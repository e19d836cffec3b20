"""The data mover: query results in, every row accounted for in the target. Knows nothing of time, jobs or tables."""
