"""Pictures as they come from the field, end to end: what each must be answered with, and what it is answered with."""
