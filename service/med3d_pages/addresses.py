"""Where the pages stand, and the documents beside them."""

PREFIX = "/ui"
DOCUMENTS = "/docs"
