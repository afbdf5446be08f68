"""Who holds a place: so many connections in all, so many of one address; who has shown no key makes room."""

import resource
from collections import Counter, OrderedDict
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass
from ipaddress import ip_address, ip_network
from typing import Protocol

import structlog

from med3d_service.settings import Settings
from med3d_service.trust.access.addresses import owner_of

log = structlog.get_logger()

LONGEST_BACKLOG = 2048
OTHER_DESCRIPTORS = 256
"""Files, database, store, broker and the interpreter's own."""


class Guest(Protocol):
    """A connection that holds a place. ``address`` is None on a Unix socket."""

    address: str | None

    def drop(self) -> None:
        """End it now."""


@dataclass(frozen=True)
class Room:
    """How many connections are open at once, and how many the kernel keeps waiting before they are accepted."""

    connections: int
    per_address: int
    backlog: int

    @classmethod
    def of(cls, settings: Settings) -> "Room":
        """Take it from the settings, as far as the process may open so many files; its limit is raised if it can be."""
        wanted = settings.connections + LONGEST_BACKLOG + OTHER_DESCRIPTORS
        soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
        if soft < wanted:
            with suppress(ValueError, OSError):
                resource.setrlimit(resource.RLIMIT_NOFILE, (min(wanted, hard), hard))
            soft, _ = resource.getrlimit(resource.RLIMIT_NOFILE)
        return cls.within(settings, soft)

    @classmethod
    def within(cls, settings: Settings, descriptors: int) -> "Room":
        """Divide ``descriptors``: asyncio accepts the whole backlog before it looks at the first connection."""
        left = max(16, descriptors - OTHER_DESCRIPTORS)
        backlog = min(LONGEST_BACKLOG, left // 3)
        connections = min(settings.connections, left - backlog)
        if connections < settings.connections:
            log.warning("fewer_connections_than_set", connections=connections, files=descriptors)
        return cls(connections, settings.connections_per_address, backlog)


class Places:
    """The places of one API process. Not thread-safe: the event loop's thread alone enters and leaves."""

    def __init__(self, room: Room, trusted_proxies: str, turned_away: Callable[[str], None]) -> None:
        self._room, self._turned_away = room, turned_away
        self._many = _matcher(trusted_proxies)
        self._held: set[Guest] = set()
        self._of_address = Counter[str | None]()
        self._idle: dict[str | None, OrderedDict[Guest, None]] = {}

    def enter(self, guest: Guest) -> bool:
        """Give a place. Where there is none, the guest that has gone unknown for longest loses its own; else False."""
        owner = self._owner(guest)
        if not self._has_many(guest.address) and self._of_address[owner] >= self._room.per_address:
            crowded: str | None = owner
        elif len(self._held) >= self._room.connections:
            crowded = max(self._idle, key=lambda one: len(self._idle[one]), default=None)
        else:
            self._take(guest)
            return True
        if not (waiting := self._idle.get(crowded)):
            self._turned_away("no_place")
            return False
        oldest = next(iter(waiting))
        self.leave(oldest)
        oldest.drop()
        self._turned_away("made_room")
        self._take(guest)
        return True

    def _take(self, guest: Guest) -> None:
        self._held.add(guest)
        self._of_address[self._owner(guest)] += 1
        self._idle.setdefault(self._owner(guest), OrderedDict())[guest] = None

    def leave(self, guest: Guest) -> None:
        """Free a place; once more is no error."""
        if guest not in self._held:
            return
        self._held.remove(guest)
        self._of_address[self._owner(guest)] -= 1
        if not self._of_address[self._owner(guest)]:
            del self._of_address[self._owner(guest)]
        self.keep(guest)

    def keep(self, guest: Guest) -> None:
        """Let a guest not lose its place: its caller is known."""
        waiting = self._idle.get(self._owner(guest))
        if waiting is not None:
            waiting.pop(guest, None)
            if not waiting:
                del self._idle[self._owner(guest)]

    def spare(self, guest: Guest) -> None:
        """Let a guest lose its place again, after the others that are there."""
        if guest in self._held:
            self._idle.setdefault(self._owner(guest), OrderedDict())[guest] = None

    @staticmethod
    def _owner(guest: Guest) -> str | None:
        return None if guest.address is None else owner_of(guest.address)

    def _has_many(self, address: str | None) -> bool:
        return address is None or self._many(address)


def _matcher(proxies: str) -> Callable[[str], bool]:
    """Tell whether an address is among ``proxies``: addresses and networks by commas, or an asterisk for all."""
    words = [word.strip() for word in proxies.split(",") if word.strip()]
    networks = []
    for word in words:
        with suppress(ValueError):
            networks.append(ip_network(word, strict=False))

    def matches(address: str) -> bool:
        if "*" in words or address in words:
            return True
        with suppress(ValueError):
            return any(ip_address(address) in network for network in networks)
        return False

    return matches
