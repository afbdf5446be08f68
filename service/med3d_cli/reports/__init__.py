"""Pages of one scan and of a group, in files that fetch nothing; for `med3d analyse --html` and `med3d bids`."""
