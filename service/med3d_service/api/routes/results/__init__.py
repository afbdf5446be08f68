"""Routes of what a run leaves: reports, pictures, explanations, volumes, deliveries, names."""
