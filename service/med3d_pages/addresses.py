"""Where the pages stand."""

PREFIX = "/ui"
