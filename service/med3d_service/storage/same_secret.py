"""Whether two secrets are the same, in a time that tells nothing; of whatever characters the one that was sent is."""

import hmac


def is_same_secret(given: str, kept: str) -> bool:
    """Compare as bytes: of text, ``hmac`` takes no more than ASCII and raises TypeError, which others could provoke."""
    return hmac.compare_digest(given.encode(errors="replace"), kept.encode())
