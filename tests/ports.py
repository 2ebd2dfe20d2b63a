"""Loopback ports for servers that tests start."""

import itertools
import os
import socket

# Below the ports that Linux gives to outgoing connections (from 32768), one of which could take it before the server does.
# Processes of tests begin at different places.
_PORTS = itertools.cycle(range(12000, 30000))
for _ in range(os.getpid() * 97 % 18000):
    next(_PORTS)


def free_port() -> int:
    """A port on which nobody listens; each one is returned once in 18,000 calls."""
    for port in _PORTS:
        with socket.socket() as probe:
            try:
                probe.bind(("127.0.0.1", port))
            except OSError:
                continue
            return port
    raise AssertionError("unreachable: the ports are a cycle")
