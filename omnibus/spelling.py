"""One spelling for addresses that mean the same, to see whether two of them do."""

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
    """Where a URL leads: `http://A.example.com`, `http://a.example.com:80/` are one; a wrong port is None."""
    parts = urlsplit(url)
    try:
        port = parts.port
    except ValueError:
        return host(parts.hostname or ""), None
    return host(parts.hostname or ""), port or (443 if parts.scheme == "https" else 80)
