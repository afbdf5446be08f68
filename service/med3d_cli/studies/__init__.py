"""Commands on studies: analyse, submit, follow, watch, and how answers are shown."""
