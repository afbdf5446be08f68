"""Keeping what was entrusted, and letting it go: ledger, backup, erasure, retention, keys."""
