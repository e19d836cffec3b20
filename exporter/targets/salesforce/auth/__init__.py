"""Ways to log in, what the token endpoint answers, and tokens that are kept. Their face is ``log_in``."""
