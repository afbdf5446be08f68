"""`med3d bids`: a BIDS dataset to a BIDS derivative, participant by participant and then as a group."""
