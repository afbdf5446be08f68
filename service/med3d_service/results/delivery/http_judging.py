"""What an HTTP status means for a delivery: taken, to be tried again and when, or refused for good."""

from collections.abc import Mapping
from collections.abc import Set as AbstractSet
from datetime import UTC, datetime
from email.utils import parsedate_to_datetime

from med3d_service.results.delivery.sending import NotDeliveredError, RefusedByPeerError

PASSING = frozenset({401, 403, 404, 408, 409, 423, 425, 429})
"""Client errors that the receiver's operator, or time, may mend without a change of what is sent."""
LONGEST_WAIT_S = 24 * 3600.0


def judge(status: int, headers: Mapping[str, str], *, passing: AbstractSet[int] = PASSING, told: str = "") -> None:
    """Return where it was taken. ``told``: more of why it was not, in our words.

    Raises NotDeliveredError, which knows how long the receiver wants to be left alone, or RefusedByPeerError.
    """
    if 200 <= status < 300:
        return
    said = f"http_{status}{told}"
    if 400 <= status < 500 and status not in passing:
        raise RefusedByPeerError(f"refused:{said}")
    raise NotDeliveredError(f"peer_failed:{said}", not_before_s=retry_after_s(headers.get("Retry-After", "")))


def retry_after_s(value: str) -> float:
    """Read Retry-After (RFC 9110 10.2.3): seconds or a date; 0 where it is neither, a day at most."""
    if value.strip().isdecimal():
        return min(float(value), LONGEST_WAIT_S)
    try:
        at = parsedate_to_datetime(value)
    except ValueError:
        return 0.0
    at = at if at.tzinfo is not None else at.replace(tzinfo=UTC)
    return min(max(0.0, (at - datetime.now(UTC)).total_seconds()), LONGEST_WAIT_S)
