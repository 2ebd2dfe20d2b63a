"""The lab's public addresses; all are reserved for documentation (RFC 5737)."""

from __future__ import annotations

WORKSTATION = "198.51.100.7"
"""The machine that runs Pulumi, which `admin_cidrs` must allow. Created hosts see it with this address."""

CERTIFICATE_AUTHORITY = "198.51.100.80"
"""The source address of the Let's Encrypt stand-in: any address on the Internet."""

METADATA = "127.0.0.169"
"""The instance metadata service, on the loopback device of every created host; port 80."""

METADATA_PORT = 1690
"""Its actual port: nginx listens on port 80 of all addresses, so the firewall redirects."""

ELASTIC = "203.0.113.0/24"
"""Elastic IPs."""

AUTOMATIC = "198.51.100.128/25"
"""Public addresses that an instance gets when it starts and loses when it stops."""
