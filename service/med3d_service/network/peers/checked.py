"""What the last look at each peer found, since this process started: a page shows it beside the peer."""

import threading
import time
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass

from med3d_service.network.peers.checking import Finding, check_peers
from med3d_service.network.peers.configuration import Peers


@dataclass(frozen=True)
class PeerLook:
    """A look at a peer. at: seconds since 1970."""

    at: float
    findings: tuple[Finding, ...]


class PeerChecks:
    """Looks at peers and remembers the last look at each. One per API process, in ``app.state.peer_checks``."""

    def __init__(
        self,
        peers: Peers,
        clock: Callable[[], float] = time.time,
        check: Callable[[Peers, str], Iterable[Finding]] = check_peers,
    ) -> None:
        self._peers, self._clock, self._check = peers, clock, check
        self._last: dict[str, PeerLook] = {}
        self._lock = threading.Lock()

    def look_at(self, name: str) -> PeerLook:
        """Try what the service needs of a configured peer: associations, searches, retrieving."""
        found = PeerLook(self._clock(), tuple(self._check(self._peers, name)))
        with self._lock:
            self._last[name] = found
        return found

    def last(self) -> Mapping[str, PeerLook]:
        """Return the last look at each peer, by its name."""
        with self._lock:
            return dict(self._last)
