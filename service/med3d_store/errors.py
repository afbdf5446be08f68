"""What may be wrong with a store, in our words."""

import errno
from collections.abc import Iterator
from contextlib import contextmanager

import obstore.exceptions

_FULL = frozenset({errno.ENOSPC, errno.EDQUOT})


class StoreError(Exception):
    """The store cannot give or take an object."""


class InvalidKeyError(StoreError):
    """A key that is no plain relative path."""


class ObjectMissingError(StoreError):
    """No object has this key."""


class StoreAwayError(StoreError):
    """The store does not do what is asked of it now: read-only, out of reach, too slow."""


class StoreFullError(StoreAwayError):
    """No room is left in the store."""


class StoreChangedError(StoreAwayError):
    """Where the store was there is none, or another one: it vanished, or is not mounted."""


class ObjectDamagedError(StoreError):
    """The bytes read do not have the digest they were stored with."""


@contextmanager
def translated() -> Iterator[None]:
    """Say in our words what the backend says. A missing object is a FileNotFoundError to it, too."""
    try:
        yield
    except FileNotFoundError as error:
        raise ObjectMissingError("the store holds no such object") from error
    except (obstore.exceptions.BaseError, OSError) as error:
        number = getattr(error, "errno", None)
        full = number in _FULL or any(f"(os error {code})" in str(error) for code in _FULL)
        kind = StoreFullError if full else StoreAwayError
        raise kind("no room is left in the store" if full else "the store cannot be used now") from error
