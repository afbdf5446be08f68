"""How something is sent: the words that the deliverer and the ways to a destination share."""

from dataclasses import dataclass
from typing import Protocol

from med3d_service.results.kinds import Kind


@dataclass(frozen=True)
class Outgoing:
    """What goes out: a DICOM file (PS3.10) or the JSON of an event, and the identity that it has each time."""

    kind: Kind
    object_uid: str
    content: bytes
    transaction_uid: str = ""
    """Of the request for storage commitment; a sender that does not ask for any has no use for it."""


class NotDeliveredError(Exception):
    """The destination has not taken it now. ``code`` says why, without a word of the peer's own.

    not_before_s: how long it wants to be left alone.
    """

    def __init__(self, code: str, *, not_before_s: float = 0.0) -> None:
        super().__init__(code)
        self.code, self.not_before_s = code, not_before_s


class RefusedByPeerError(NotDeliveredError):
    """The destination will not take this object, however often it is sent."""


class Sender(Protocol):
    """A way to one destination."""

    def send(self, outgoing: Outgoing) -> None:
        """Send it and return when the destination has confirmed it, or been asked to confirm that it is kept.

        Raises NotDeliveredError where a later try may do, RefusedByPeerError where none will.
        """

    def close(self) -> None:
        """End what connections it keeps."""
