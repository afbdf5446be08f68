"""Runs: their moves, their waiting line, and how they are shown."""
