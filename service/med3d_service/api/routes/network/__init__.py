"""Routes of what other systems send and are asked for: arrivals, peers, pulls, hooks."""
