"""What the results API asks of a worker, one use case each, and how leases and outcomes reach it."""
