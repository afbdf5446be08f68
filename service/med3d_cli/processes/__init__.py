"""Commands that are a process of their own."""
