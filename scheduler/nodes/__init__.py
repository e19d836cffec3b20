"""The processes that share a state database: this one, the others, and how they are."""
