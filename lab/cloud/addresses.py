"""The lab's own addresses on the internet, as others see them; all are for documentation (RFC 5737)."""

from __future__ import annotations

WORKSTATION = "198.51.100.7"
"""Who runs Pulumi: what `admin_cidrs` has to admit. Created hosts see the workstation with this address."""

CERTIFICATE_AUTHORITY = "198.51.100.80"
"""Where the stand-in of Let's Encrypt asks from: anybody on the internet."""

METADATA = "127.0.0.169"
"""The instance metadata service, on the loopback device of every created host; port 80."""

METADATA_PORT = 1690
"""Where it really listens: port 80 of all addresses is nginx's, so the firewall redirects."""

ELASTIC = "203.0.113.0/24"
"""Elastic IPs."""

AUTOMATIC = "198.51.100.128/25"
"""Public addresses that an instance gets with its start and loses with its stop."""
