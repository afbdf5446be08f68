"""The bundle as a process holds it: verified, described to others, with the calibrations of its sites."""
