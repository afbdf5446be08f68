"""Routes of cohorts, of their progress and reports, and of the people in them."""
