"""What explanations of a bundle rest on: groups of regions from label maps, what they usually say, and their trial."""
