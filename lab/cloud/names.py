"""Route 53 in the lab's DNS: A records of public zones override the lab's own names."""

from __future__ import annotations

import os
import signal
from collections.abc import Iterable
from pathlib import Path

RECORDS = Path("/run/lab/route53")
"""A hosts file that dnsmasq reads; its entries override the --address options."""
INSTANCES = Path("/run/lab/instances.json")
"""The existing instances, for the lab's API."""
PID_FILE = Path("/run/lab/dnsmasq.pid")


def publish(names: Iterable[tuple[str, str]]) -> None:
    """Answer with exactly these (name, address) pairs from Route 53."""
    RECORDS.write_text("".join(f"{address} {name}\n" for name, address in names if "*" not in name))
    if PID_FILE.exists():
        os.kill(int(PID_FILE.read_text()), signal.SIGHUP)
