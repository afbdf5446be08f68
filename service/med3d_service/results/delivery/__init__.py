"""Answers on their way out: the outbox, the process that empties it, and the ways to a destination."""
