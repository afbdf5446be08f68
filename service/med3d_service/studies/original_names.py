"""What originals are called: in the store, and by the seal that opens under this name alone."""

from med3d_service.storage.sealed import ObjectName


def original_key(upload_id: str) -> str:
    """Return the object key of one sealed container."""
    return f"originals/{upload_id}"


def original_name(upload_id: str, site: str) -> ObjectName:
    """Return the name that an original of ``site`` is sealed with."""
    return ObjectName("original", original_key(upload_id), site)


def upload_of(key: str) -> str:
    """Return the upload id of an object key."""
    return key.removeprefix("originals/")
