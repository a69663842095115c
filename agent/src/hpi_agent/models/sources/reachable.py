"""Which network addresses a source may lead to: a pipeline's author must not make the agent read what only it may read.

Checked is the address of the peer of an open connection, before a byte is sent on it, so a name that resolves to
something else the second time gains nothing.
"""

from __future__ import annotations

from ipaddress import IPv4Address, IPv6Address, ip_address, ip_network
from typing import Final

from hpi_core.errors import Refused

Address = IPv4Address | IPv6Address

METADATA: Final = tuple(
    ip_network(text)
    for text in (
        "100.100.100.200/32",  # Alibaba Cloud
        "168.63.129.16/32",  # Azure
        "192.0.0.192/32",  # Oracle Cloud
        "fd00:ec2::254/128",  # Amazon Web Services, over IPv6
        "fd20:ce::254/128",  # Google Cloud, over IPv6
    )
)
"""Metadata services outside of the link-local range, where all others are (169.254.169.254 and its neighbours)."""

_NAT64: Final = ip_network("64:ff9b::/96")


def check_peer(peer: str, *, asked: str, loopback_allowed: bool) -> None:
    """Refuse the peer of a connection that no source may lead to.

    Args:
        peer: Its numeric address; a zone (`%eth0`) is ignored.
        asked: The address that led there, for people.
        loopback_allowed: Whether that address says itself that it stays on this machine.

    Raises:
        Refused: The peer is link-local, a metadata service, or this machine by another name.
    """
    found = _embedded(ip_address(peer.partition("%")[0]))
    if found.is_link_local or any(found.version == network.version and found in network for network in METADATA):
        kind = "a link-local address or a metadata service"
    elif found.is_loopback and not loopback_allowed:
        kind = "this machine itself; a source says so with localhost or a loopback address in its own text"
    elif found.is_unspecified or found.is_multicast or found == IPv4Address("255.255.255.255"):
        kind = "no address of one machine"
    else:
        return
    raise Refused(f"{asked} leads to {peer}, which is {kind}; sources must not be read from there")


def _embedded(address: Address) -> Address:
    """Return the IPv4 address that an IPv6 address stands for, or the address itself."""
    if isinstance(address, IPv4Address):
        return address
    if address in _NAT64:
        return IPv4Address(int(address) & 0xFFFF_FFFF)
    return address.ipv4_mapped or address.sixtofour or address
