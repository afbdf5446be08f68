"""Whose an address is: a machine has one of IPv4, and a whole network of IPv6 to choose from."""

from ipaddress import IPv6Address, IPv6Network, ip_address

IPV6_BITS = 64
"""Of an address that are given to whoever has it; the other half a machine chooses itself (RFC 4291, 2.5.1)."""


def owner_of(address: str) -> str:
    """Name who is counted as one: an IPv4 address however it is written, or the network of an IPv6 address."""
    try:
        found = ip_address(address)
    except ValueError:  # a name, or a socket of the machine
        return address
    if not isinstance(found, IPv6Address):
        return address
    return str(found.ipv4_mapped or IPv6Network((int(found), IPV6_BITS), strict=False))
