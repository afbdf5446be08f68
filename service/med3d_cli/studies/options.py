"""Options that several commands on studies share."""

SERIES_HELP = "The series to analyse: its number, Series Instance UID, or label as a run lists it."
