"""Which peers a source may lead to."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from hpi_agent.models.sources.reachable import check_peer
from hpi_core.errors import Refused


def is_refused(peer: str, *, loopback_allowed: bool = False) -> bool:
    try:
        check_peer(peer, asked="https://models.example/", loopback_allowed=loopback_allowed)
    except Refused:
        return True
    return False


@pytest.mark.parametrize(
    "peer",
    [
        "169.254.169.254",
        "169.254.0.1",
        "169.254.170.2",
        "100.100.100.200",
        "168.63.129.16",
        "192.0.0.192",
        "fd00:ec2::254",
        "fd20:ce::254",
        "fe80::1",
        "fe80::1%eth0",
        "::ffff:169.254.169.254",
        "64:ff9b::a9fe:a9fe",
        "2002:a9fe:a9fe::1",
        "::ffff:100.100.100.200",
    ],
)
@pytest.mark.parametrize("loopback_allowed", [True, False])
def test_metadata_services_are_refused_in_every_spelling(peer: str, loopback_allowed: bool) -> None:
    assert is_refused(peer, loopback_allowed=loopback_allowed)


@pytest.mark.parametrize("peer", ["127.0.0.1", "127.1.2.3", "::1", "::ffff:127.0.0.1", "64:ff9b::7f00:1"])
def test_this_machine_is_read_only_by_an_address_that_says_so(peer: str) -> None:
    assert is_refused(peer)
    assert not is_refused(peer, loopback_allowed=True)


@pytest.mark.parametrize("peer", ["0.0.0.0", "::", "224.0.0.1", "ff02::1", "255.255.255.255", "::ffff:0.0.0.0"])
def test_what_is_no_address_of_one_machine_is_refused(peer: str) -> None:
    assert is_refused(peer, loopback_allowed=True)


@pytest.mark.parametrize(
    "peer",
    [
        "10.0.0.1",
        "172.16.0.1",
        "192.168.1.1",
        "100.64.0.1",
        "198.51.100.7",
        "2001:db8::1",
        "fd12:3456::1",
        "192.0.0.193",
    ],
)
def test_servers_of_the_site_and_of_the_world_are_read(peer: str) -> None:
    assert not is_refused(peer)


@given(st.ip_addresses(v=4, network="169.254.0.0/16"))
def test_no_link_local_address_is_ever_read(address: object) -> None:
    assert is_refused(str(address))
    assert is_refused(f"::ffff:{address}")
