"""UIDs of the objects that this service makes: they follow from what they name, and are known when they come back.

The root is the service's own, an arc below a UUID (2.25, PS3.5 B.2; ITU-T X.667), so that no registry is needed.
"""

import hashlib

OWN_UID_ROOT = "2.25.2722924073432480361047559184346568599"
"""Reports, pictures and pages of every installation: what lies below is never input."""
_SUFFIX_BYTES = 8
"""At most 20 digits: with root and dot well within the 64 characters of a UID."""


def own_uid(*parts: str) -> str:
    """Return the UID of what ``parts`` name (a run and a kind of object, say): the same for the same parts."""
    digest = hashlib.sha256("\0".join(parts).encode()).digest()
    return f"{OWN_UID_ROOT}.{int.from_bytes(digest[:_SUFFIX_BYTES], 'big')}"


IMPLEMENTATION_UID = own_uid("implementation")
IMPLEMENTATION_VERSION = "MED3D"
"""Who speaks (PS3.7 annex D.3.3.2), as whom it calls, is called, and writes files."""


def is_own(uid: str) -> bool:
    """Tell whether this service made what the UID names."""
    return uid.startswith(f"{OWN_UID_ROOT}.")
