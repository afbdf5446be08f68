"""A study: its series appraised, ranked and chosen, and the chosen one loaded."""
