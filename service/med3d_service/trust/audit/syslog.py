"""Syslog to an audit repository: RFC 5424 over UDP (RFC 5426), TCP (RFC 6587, octet counting) or TLS (RFC 5425)."""

import os
import socket
import ssl
from datetime import UTC, datetime
from pathlib import Path
from types import TracebackType
from typing import Self
from urllib.parse import urlsplit

PRIORITY = 10 * 8 + 5
"""Facility 10 (security), severity 5 (notice), as IHE ITI TF-2 3.20 wants it."""
PORTS = {"udp": 514, "tcp": 601, "tls": 6514}
TIMEOUT_S = 5.0
LONGEST_DATAGRAM = 60_000


def frame(content: bytes, at: float, host: str, app: str = "med3d") -> bytes:
    """Return one RFC 5424 message around ``content`` (UTF-8 XML), which the BOM says is UTF-8."""
    stamp = datetime.fromtimestamp(at, UTC).isoformat(timespec="milliseconds").replace("+00:00", "Z")
    head = f"<{PRIORITY}>1 {stamp} {_word(host, 255)} {_word(app, 48)} {os.getpid()} DICOM+RFC3881 - "
    return head.encode("ascii") + b"\xef\xbb\xbf" + content


def _word(text: str, longest: int) -> str:
    return "".join(c for c in text if "!" <= c <= "~")[:longest] or "-"


class SyslogReceiver:
    """A connection to ``udp://host[:port]``, ``tcp://...`` or ``tls://...``. Raises OSError where it cannot be had."""

    def __init__(self, url: str, ca_file: Path | None = None) -> None:
        parts = urlsplit(url)
        if parts.scheme not in PORTS or not parts.hostname:
            raise ValueError("the syslog receiver is udp://HOST[:PORT], tcp://HOST[:PORT] or tls://HOST[:PORT]")
        self._stream = parts.scheme != "udp"
        address = (parts.hostname, parts.port or PORTS[parts.scheme])
        if not self._stream:
            family = socket.getaddrinfo(*address, type=socket.SOCK_DGRAM)[0][0]
            self._socket = socket.socket(family, socket.SOCK_DGRAM)
            self._socket.connect(address)
            return
        self._socket = socket.create_connection(address, timeout=TIMEOUT_S)
        if parts.scheme == "tls":
            context = ssl.create_default_context(cafile=ca_file)
            self._socket = context.wrap_socket(self._socket, server_hostname=parts.hostname)

    def send(self, message: bytes) -> None:
        """Hand one message to the network."""
        if self._stream:
            self._socket.sendall(b"%d " % len(message) + message)
        else:
            self._socket.send(message[:LONGEST_DATAGRAM])

    def __enter__(self) -> Self:
        """Use it in a ``with`` block."""
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        """Close it."""
        self._socket.close()
