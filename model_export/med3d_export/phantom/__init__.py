"""A cohort with a known truth: the template deformed smoothly by factors that a model may or may not recover."""
