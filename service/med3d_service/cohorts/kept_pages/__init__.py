"""Pages of cohorts that hold all in themselves, so that they can be kept and mailed."""
