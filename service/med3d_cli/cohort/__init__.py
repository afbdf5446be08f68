"""Commands on cohorts."""
