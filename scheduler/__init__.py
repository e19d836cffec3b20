"""The application: what fires when, who runs it, and what follows from how it ended."""
