"""Database, keys and sealed files: what everything else is kept in."""
