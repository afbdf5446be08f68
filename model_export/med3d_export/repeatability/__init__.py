"""The same head twice: what of an answer is the head and what is the way it was scanned or written down."""
