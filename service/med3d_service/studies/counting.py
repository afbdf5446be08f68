"""Numbers as sentences say them."""

_WORDS = {2: "two", 3: "three", 4: "four", 5: "five", 6: "six", 7: "seven", 8: "eight", 9: "nine"}


def in_words(count: int) -> str:
    """Return a count of several: a word up to nine; one that is not known to be two or more is "several"."""
    return "several" if count < 2 else _WORDS.get(count, str(count))
