"""The whole service on one machine, under one supervisor, and its demonstration."""
