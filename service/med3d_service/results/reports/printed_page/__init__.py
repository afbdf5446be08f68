"""The page of an answer as PDF and picture: its halves, its charts, its letters."""
