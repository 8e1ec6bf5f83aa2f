"""Which network addresses may be fetched from: the public internet's, no machine of ours or our neighbours'."""

from __future__ import annotations

from collections.abc import Sequence
from ipaddress import IPv4Address, IPv4Network, IPv6Address, IPv6Network, ip_address, ip_network

Address = IPv4Address | IPv6Address
Network = IPv4Network | IPv6Network

_REFUSED: tuple[Network, ...] = tuple(
    map(
        ip_network,
        (
            "0.0.0.0/8",
            "10.0.0.0/8",
            "100.64.0.0/10",  # shared by carriers; some clouds have their metadata in it
            "127.0.0.0/8",
            "168.63.129.16/32",  # Azure's own services, at an address that looks public
            "169.254.0.0/16",  # link-local; the metadata of most clouds
            "172.16.0.0/12",
            "192.0.0.0/24",
            "192.0.2.0/24",
            "192.88.99.0/24",
            "192.168.0.0/16",
            "198.18.0.0/15",
            "198.51.100.0/24",
            "203.0.113.0/24",
            "224.0.0.0/4",
            "240.0.0.0/4",
            "2001::/23",  # Teredo and other special uses
            "2001:db8::/32",
            "2002::/16",  # 6to4, which reaches any IPv4 address
            "3fff::/20",
        ),
    )
)
"""What is not public, by the registries of special addresses; written out because `is_global` differs
between versions of Python. Of IPv6, nothing outside `_GLOBAL_IPV6` is public anyway."""

_GLOBAL_IPV6 = ip_network("2000::/3")
_TRANSLATED = ip_network("64:ff9b::/96")
"""NAT64: where a network has no IPv4 of its own, the last 32 bits are the IPv4 address that is meant."""


def parse_networks(networks: Sequence[str]) -> tuple[Network, ...]:
    """Networks such as `10.1.0.0/16`.

    Raises:
        ValueError: One of them is no network.
    """
    return tuple(map(ip_network, networks))


def is_allowed(address: str, allowed: Sequence[Network] = ()) -> bool:
    """Whether an address may be connected to: it is public, or in one of the networks that the user allows.

    Args:
        address: As `getaddrinfo` gives it.
        allowed: Networks that need not be public.

    >>> is_allowed("93.184.215.14"), is_allowed("::ffff:127.0.0.1"), is_allowed("169.254.169.254")
    (True, False, False)
    """
    try:
        given = ip_address(address.partition("%")[0])
    except ValueError:
        return False
    meant = _meant(given)
    return any(meant in network for network in allowed) or _is_public(meant)


def _meant(address: Address) -> Address:
    """The IPv4 address that an IPv6 address stands for, else the address itself."""
    if isinstance(address, IPv6Address):
        if address.ipv4_mapped is not None:
            return address.ipv4_mapped
        if address in _TRANSLATED:
            return IPv4Address(int(address) & 0xFFFF_FFFF)
    return address


def _is_public(address: Address) -> bool:
    if isinstance(address, IPv6Address) and address not in _GLOBAL_IPV6:
        return False
    return not any(address in network for network in _REFUSED)
