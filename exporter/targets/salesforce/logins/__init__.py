"""The ways to log in to an org, one module each."""
