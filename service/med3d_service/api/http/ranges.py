"""One range of bytes of a file (RFC 9110 14): what broke off goes on, and a viewer may look at a header first."""

import re
from typing import NamedTuple

from med3d_service.problems import ServiceError

_ONE_RANGE = re.compile(r"bytes=(\d{0,18})-(\d{0,18})")


class ByteRange(NamedTuple):
    """Bytes from ``start`` to before ``end``."""

    start: int
    end: int

    def described(self, size: int) -> str:
        """Write it as Content-Range does."""
        return f"bytes {self.start}-{self.end - 1}/{size}"


def wanted_range(header: str | None, if_range: str | None, etag: str, size: int) -> ByteRange | None:
    """Read Range; None where the whole is to be sent: it asks for none, for several, or for a state that is gone.

    Raises ServiceError("range_not_there").
    """
    if header is None or (if_range is not None and if_range.strip() != etag):
        return None
    found = _ONE_RANGE.fullmatch(header.replace(" ", ""))
    if found is None or found[0] == "bytes=-":
        return None
    first, last = found[1], found[2]
    if not first:
        start, end = max(0, size - int(last)), size
    else:
        start, end = int(first), min(size, int(last) + 1) if last else size
    if first and last and int(last) < int(first):
        return None  # RFC 9110 14.1.1: not a range at all
    if start >= end:
        raise ServiceError("range_not_there", f"The file has {size} bytes, and the range lies behind its end.")
    return ByteRange(start, end)
