"""Environment variables that are ours: their names, and what values settings may have."""
