"""Studies that a sender brings whole: a form with files becomes one container and one row."""
