"""Routes of runs, of the bundles and calibrations that make them, and of the workers that do them."""
