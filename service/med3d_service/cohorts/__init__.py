"""Cohorts: studies that belong together, worked through by night and compared in the morning."""
