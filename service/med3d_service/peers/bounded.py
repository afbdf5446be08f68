"""A bound on silence in the middle of a PDU. The library's own timeouts count between messages and leave it open."""

from collections.abc import Callable

from pynetdicom import evt


def bounded_by(timeout_s: float) -> tuple[evt.EventType, Callable[[evt.Event], None]]:
    """An event handler for ``AE.associate``: no read or write of the new connection waits longer than ``timeout_s``.

    The library takes a socket's timeout for the end of the connection, which ends the association.
    """

    def opened(event: evt.Event) -> None:
        connection = event.assoc.dul.socket
        if connection is not None and connection.socket is not None:
            connection.socket.settimeout(timeout_s)

    return (evt.EVT_CONN_OPEN, opened)
