"""Notices to people: when, to whom, in what words, and how they are sent."""
