"""Which hosts a sink may reach. Receivers have private addresses here as a rule, so private is not forbidden as such:
what counts is that a person wrote the target down. Pure; `router.posting` asks when it connects.
"""

import ipaddress
import re
from collections.abc import Iterable
from typing import Final

from msgspec import Struct

Address = ipaddress.IPv4Address | ipaddress.IPv6Address
Network = ipaddress.IPv4Network | ipaddress.IPv6Network

_NAME: Final = re.compile(r"(\*\.)?[a-z0-9_]([a-z0-9_-]*[a-z0-9_])?(\.[a-z0-9_]([a-z0-9_-]*[a-z0-9_])?)*", re.ASCII)


class Allowed(Struct, frozen=True):
    """What `allowed_targets` lists: host names (`*.` before one stands for every name below it) and networks.

    With a list nothing else is reached. Without one (``listed`` False): addresses that a URL names itself, and names
    that resolve to public addresses, so that whoever rules a name in the DNS leads us to no host of the plant. A listed
    name may resolve to a private address; a loopback or link-local one must be listed as such, or be the URL's own.
    """

    names: tuple[str, ...] = ()
    networks: tuple[Network, ...] = ()
    listed: bool = False

    def names_host(self, host: str) -> bool:
        """Whether the name is listed."""
        return any(host == name or (name.startswith("*.") and host.endswith(name[1:])) for name in self.names)


def allowed_of(entries: Iterable[str] | None) -> Allowed:
    """Reads `allowed_targets`; None where there is no list. Raises `ValueError` naming the entry."""
    if entries is None:
        return Allowed()
    names: list[str] = []
    networks: list[Network] = []
    for number, entry in enumerate(entries):
        try:
            networks.append(ipaddress.ip_network(entry, strict=False))
        except ValueError:
            name = entry.lower().rstrip(".")
            if not _NAME.fullmatch(name) or name.rsplit(".", 1)[-1].isdigit():
                raise ValueError(
                    f"allowed_targets[{number}]: {entry!r} is neither a host name (desk.plant, *.plant), an address nor"
                    " a network (10.0.0.0/8)"
                ) from None
            names.append(name)
    return Allowed(tuple(names), tuple(networks), listed=True)


def literal(host: str) -> Address | None:
    """The address that a URL's host is, or None where it is a name."""
    try:
        return _plain(ipaddress.ip_address(host.strip("[]")))
    except ValueError:
        return None


def wrong_host(host: str, allowed: Allowed) -> str | None:
    """Why a URL's host may not be reached as far as it can be told without the DNS, or None."""
    address = literal(host)
    if address is not None:
        return wrong_address(host, address, allowed)
    if not allowed.listed or allowed.names_host(_name(host)) or allowed.networks:
        return None
    return "is not in allowed_targets"


def names_target(host: str, allowed: Allowed) -> bool:
    """Whether the list, where there is one, holds a host that is connected to without a look at its address: an address
    lies in a listed network, a name is listed itself."""
    address = literal(host)
    listed = allowed.names_host(_name(host))
    return not allowed.listed or listed or any(address is not None and address in each for each in allowed.networks)


def wrong_address(host: str, address: Address, allowed: Allowed) -> str | None:
    """Why ``address``, to which the URL's host resolves, may not be reached, or None."""
    address = _plain(address)
    name = _name(host)
    if any(address in network for network in allowed.networks):
        return None
    itself = literal(host) is not None or (name == "localhost" and address.is_loopback)
    if allowed.listed:
        if allowed.names_host(name) and (itself or not _of_this_link(address)):
            return None
        return f"{_shown(host, address)}, which is not in allowed_targets"
    if itself and (address.is_loopback or not _of_this_link(address)):
        return None
    if address.is_global and not address.is_multicast:
        return None
    return f"{_shown(host, address)}, which is not public and not in allowed_targets"


def _of_this_link(address: Address) -> bool:
    return address.is_loopback or address.is_link_local or address.is_multicast or address.is_unspecified


def _plain(address: Address) -> Address:
    """An IPv4 address that is written as an IPv6 one is judged as what it is."""
    mapped = address.ipv4_mapped if isinstance(address, ipaddress.IPv6Address) else None
    return mapped or address


def _name(host: str) -> str:
    return host.lower().rstrip(".")


def _shown(host: str, address: Address) -> str:
    return f"is {address}" if literal(host) is not None else f"resolves to {address}"
