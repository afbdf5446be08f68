"""Why an estimate is what it is: the head as the decoder would have it older or younger, and years by region."""
