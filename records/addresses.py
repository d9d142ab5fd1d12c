"""Network addresses: which are this machine's own, and how much of others' is kept."""

from __future__ import annotations

import ipaddress


def is_loopback(host: str) -> bool:
    """Whether an address is this machine's own, reached from nowhere else."""
    if host.strip("[]").lower() == "localhost":
        return True
    try:
        address = ipaddress.ip_address(host.strip("[]"))
    except ValueError:
        return False
    mapped = getattr(address, "ipv4_mapped", None)
    return (mapped or address).is_loopback


def cut_address(address: str) -> str:
    """The part of a network address that is kept: its first 24 bits, or 48 of the longer kind."""
    try:
        whole = ipaddress.ip_address(address)
    except ValueError:
        return ""
    whole = getattr(whole, "ipv4_mapped", None) or whole
    return str(ipaddress.ip_network((whole, 24 if whole.version == 4 else 48), strict=False))
