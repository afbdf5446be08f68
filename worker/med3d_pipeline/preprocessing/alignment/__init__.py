"""The template that every head is aligned to, and how it is."""
