"""Rounds of faults against the service's real processes; after each, everything acknowledged must be answered once."""
