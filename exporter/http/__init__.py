"""HTTP calls that end in time, sessions of them, and a small HTTP server."""
