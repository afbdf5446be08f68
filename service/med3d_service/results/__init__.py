"""Answers as others read them, and their way out."""
