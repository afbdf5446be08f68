"""Where originals lie in the store."""


def original_key(upload_id: str) -> str:
    """The object key of one sealed container."""
    return f"originals/{upload_id}"


def upload_of(key: str) -> str:
    """The upload id of an object key."""
    return key.removeprefix("originals/")
