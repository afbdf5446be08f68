"""Who may open an association: AE titles and the addresses they call from."""

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from fnmatch import fnmatchcase
from ipaddress import IPv4Network, IPv6Address, IPv6Network, ip_address, ip_network

from med3d_service.network.peers.ae_titles import read_ae_title

IPV4_BITS_BEFORE = 96
"""Bits of an IPv4-mapped address (RFC 4291) before those of the IPv4 address."""


def plain_address(address: str) -> str:
    """Write an IPv4 address that a socket of both kinds shows as ::ffff:10.0.0.1 as what it is."""
    found = ip_address(address)
    mapped = found.ipv4_mapped if isinstance(found, IPv6Address) else None
    return address if mapped is None else str(mapped)


class InvalidCallerError(ValueError):
    """An entry of the allow-list cannot be read."""


@dataclass(frozen=True)
class Caller:
    """One entry: an AE title, in which ``*`` and ``?`` stand for any characters and any one, and a network."""

    ae_title: str
    network: IPv4Network | IPv6Network

    @classmethod
    def parse(cls, text: str, read_name: Callable[[str], str] = read_ae_title) -> "Caller":
        """Read ``AE_TITLE@ADDRESS`` or ``AE_TITLE@NETWORK/BITS``. Raises InvalidCallerError."""
        name, at, address = text.rpartition("@")
        if not at:
            raise InvalidCallerError(f"{text!r} is not of the form NAME@ADDRESS or NAME@NETWORK/BITS")
        try:
            return cls(read_name(name), _as_ipv4(ip_network(address.strip(), strict=False)))
        except ValueError as error:
            raise InvalidCallerError(f"{text!r}: {error}") from error


def _as_ipv4(network: IPv4Network | IPv6Network) -> IPv4Network | IPv6Network:
    """Write an IPv4-mapped network (::ffff:10.0.0.0/104) as what it means: callers are looked up so."""
    mapped = network.network_address.ipv4_mapped if isinstance(network, IPv6Network) else None
    if mapped is None or network.prefixlen < IPV4_BITS_BEFORE:
        return network
    return IPv4Network((mapped, network.prefixlen - IPV4_BITS_BEFORE))


@dataclass(frozen=True)
class AllowList:
    """The callers that are let in; an empty list lets nobody in."""

    callers: Sequence[Caller]

    @classmethod
    def parse(cls, key: str, texts: Sequence[str], read_name: Callable[[str], str] = read_ae_title) -> "AllowList":
        """Read the entries of the setting ``key``. Raises InvalidCallerError, which names it."""
        try:
            return cls([Caller.parse(text, read_name) for text in texts])
        except InvalidCallerError as error:
            raise InvalidCallerError(f"{key}: {error}") from error

    def admits(self, ae_title: str, address: str) -> bool:
        """Tell whether this AE title may call from this address."""
        # A bracket is a character of AE titles, and begins no set.
        return any(fnmatchcase(ae_title, caller.ae_title.replace("[", "[[]")) for caller in self._from(address))

    def admits_address(self, address: str) -> bool:
        """Tell whether anybody may call from this address: known before a word is said."""
        return any(True for _ in self._from(address))

    def names_address(self, address: str) -> bool:
        """Tell whether this very address is listed, not just a network that it is in."""
        return any(caller.network.num_addresses == 1 for caller in self._from(address))

    def _from(self, address: str) -> Iterator[Caller]:
        found = ip_address(plain_address(address))
        return (
            caller for caller in self.callers if caller.network.version == found.version and found in caller.network
        )
