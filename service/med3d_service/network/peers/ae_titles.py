"""Names of application entities: what PS3.5 6.2 allows as one (VR AE)."""

import re

LONGEST = 16
RULE = (
    "an AE title has 1 to 16 characters of ASCII, not all of them blanks, without backslash and control characters "
    "(PS3.5 6.2, AE); upper and lower case are told apart"
)
_TITLE = re.compile(r"[\x20-\x5b\x5d-\x7e]{1,16}")


def read_ae_title(text: str) -> str:
    """Read an AE title; blanks before and after it do not count. Raises ValueError, which tells the rule."""
    title = text.strip(" ")
    if not _TITLE.fullmatch(title):
        raise ValueError(RULE)
    return title
