"""Stand-ins for what must stay distinct but not readable."""

import hashlib
import hmac
import uuid

from pydicom.uid import UID


class Pseudonyms:
    """Keyed by the site: the same UID always gets the same stand-in, which nobody without the key can connect."""

    def __init__(self, key: bytes) -> None:
        self._key = key
        self.uids: dict[str, str] = {}
        """stand-in -> original, of all that were asked for"""

    def uid(self, original: str) -> str:
        """Return a UID under 2.25 (PS3.5 B.2: from a UUID) that stands for ``original``."""
        digest = hmac.new(self._key, b"uid\0" + original.encode(), hashlib.sha256).digest()
        stand_in = f"2.25.{uuid.UUID(bytes=digest[:16], version=4).int}"
        self.uids[stand_in] = original
        return stand_in

    def class_uid(self, original: str) -> str:
        """Return ``original`` where DICOM itself defines it, else a stand-in."""
        return original if not original or UID(original).name != original else self.uid(original)

    def code(self, original: str) -> str:
        """Return a code string that differs where the originals differ."""
        return "X" + hmac.new(self._key, b"code\0" + original.encode(), hashlib.sha256).hexdigest()[:7].upper()
