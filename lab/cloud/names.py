"""Route 53 in the lab's DNS: A records of public zones answer before the names that the lab has by itself."""

from __future__ import annotations

import os
import signal
from collections.abc import Iterable
from pathlib import Path

RECORDS = Path("/run/lab/route53")
"""A file of hosts that dnsmasq reads; what is in it wins over its --address options."""
INSTANCES = Path("/run/lab/instances.json")
"""The instances there are, for the lab's API."""
PID_FILE = Path("/run/lab/dnsmasq.pid")


def publish(names: Iterable[tuple[str, str]]) -> None:
    """Answer with these (name, address), and with no other of Route 53's any more."""
    RECORDS.write_text("".join(f"{address} {name}\n" for name, address in names if "*" not in name))
    if PID_FILE.exists():
        os.kill(int(PID_FILE.read_text()), signal.SIGHUP)
