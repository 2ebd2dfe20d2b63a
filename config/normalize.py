"""One spelling for equal addresses, so that they can be compared."""

from __future__ import annotations

from ipaddress import ip_address
from urllib.parse import urlsplit


def host(text: str) -> str:
    """`FD00:0::1` → `fd00::1`, `Host.Example.com.` → `host.example.com`."""
    try:
        return str(ip_address(text))
    except ValueError:
        return text.lower().rstrip(".")


def server(url: str) -> tuple[str, int | None]:
    """Host and port: `http://A.example.com`, `http://a.example.com:80/` are equal. None: an invalid port."""
    parts = urlsplit(url)
    try:
        port = parts.port
    except ValueError:
        return host(parts.hostname or ""), None
    return host(parts.hostname or ""), port or (443 if parts.scheme == "https" else 80)


def is_v4(host: str | None) -> bool:
    """Whether a host is an IPv4 address, which a firewall rule can name."""
    try:
        return ip_address(host or "").version == 4
    except ValueError:
        return False
