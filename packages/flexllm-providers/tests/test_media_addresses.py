"""Which addresses are the public internet's."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from flexllm_providers.media.addresses import is_allowed, parse_networks


@pytest.mark.parametrize(
    "address",
    [
        "127.0.0.1",
        "127.255.255.254",
        "0.0.0.0",
        "0.1.2.3",
        "10.0.0.1",
        "172.16.0.1",
        "172.31.255.255",
        "192.168.1.1",
        "169.254.169.254",
        "169.254.170.2",
        "100.64.0.1",
        "100.100.100.200",
        "168.63.129.16",
        "192.0.0.192",
        "192.0.2.1",
        "192.88.99.1",
        "198.18.0.1",
        "198.51.100.1",
        "203.0.113.1",
        "224.0.0.1",
        "239.255.255.250",
        "240.0.0.1",
        "255.255.255.255",
        "::",
        "::1",
        "::127.0.0.1",
        "::ffff:127.0.0.1",
        "::ffff:10.0.0.1",
        "::ffff:169.254.169.254",
        "64:ff9b::7f00:1",
        "64:ff9b::a9fe:a9fe",
        "64:ff9b:1::1",
        "100::1",
        "2001::1",
        "2001:db8::1",
        "2002:7f00:1::",
        "3fff::1",
        "fc00::1",
        "fd00:ec2::254",
        "fe80::1",
        "fe80::1%eth0",
        "fec0::1",
        "ff02::1",
        "4000::1",
        "no address",
        "",
    ],
)
def test_what_is_not_the_public_internet_is_refused(address):
    """Loopback, private, link-local, metadata, multicast, reserved, and IPv6 spellings of them."""
    assert not is_allowed(address)


@pytest.mark.parametrize(
    "address",
    [
        "1.1.1.1",
        "93.184.215.14",
        "172.32.0.1",
        "192.0.1.1",
        "223.255.255.255",
        "2606:4700::1111",
        "2a00:1450:4001::1",
        "::ffff:1.1.1.1",
        "64:ff9b::101:101",
    ],
)
def test_the_public_internet_is_allowed(address):
    """Of both families, also where a network without IPv4 translates it."""
    assert is_allowed(address)


@given(address=st.ip_addresses(v=4))
def test_every_ipv4_address_is_judged_alike_in_ipv6_spelling(address):
    """Mapped or translated, an address is what it stands for; nothing that is not global is allowed."""
    allowed = is_allowed(str(address))
    assert is_allowed(f"::ffff:{address}") == allowed
    assert is_allowed(f"64:ff9b::{address}") == allowed
    assert not (allowed and (address.is_private or address.is_multicast or address.is_reserved))


def test_a_network_of_the_users_own_is_allowed():
    """It, and nothing beside it."""
    own = parse_networks(["10.1.0.0/16", "fd12::/32"])
    assert is_allowed("10.1.2.3", own)
    assert is_allowed("::ffff:10.1.2.3", own)
    assert is_allowed("fd12::5", own)
    assert not is_allowed("10.2.0.1", own)
    assert not is_allowed("127.0.0.1", own)
