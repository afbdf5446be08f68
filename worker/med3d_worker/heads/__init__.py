"""What is said of one head, in the contract's words: prediction, explanation, volumes, pictures."""
