"""A provider as a plugin: a process that the engine starts and stops, and whose port it reads."""

from __future__ import annotations

import os
import signal
import sys
import time
from collections.abc import Callable
from concurrent import futures

import grpc
from pulumi.runtime.proto import provider_pb2_grpc

from lab.providers.servicer import MESSAGE_SIZES, Servicer

_THREADS = 64  # the engine's maximum of parallel operations; waiting for SSH uses no CPU
_LINGER = (
    300  # seconds that operations may continue after the engine died, as with the real plugins' health check
)


def start(servicer: Servicer, port: int = 0) -> tuple[grpc.Server, int]:
    """Serve on loopback; returns the server and its port (for PULUMI_DEBUG_PROVIDERS=<name>:<port>)."""
    server = grpc.server(futures.ThreadPoolExecutor(_THREADS), options=MESSAGE_SIZES)
    provider_pb2_grpc.add_ResourceProviderServicer_to_server(servicer, server)
    port = server.add_insecure_port(f"127.0.0.1:{port}")
    server.start()
    return server, port


def main(servicer: Servicer, meanwhile: Callable[[], object] = lambda: None) -> None:
    """The plugin's main loop: the engine passes its address as an argument and reads the port from stdout.

    `meanwhile` runs after the port is printed.
    """
    # The engine stops its plugins with SIGINT: Python's KeyboardInterrupt would print a traceback.
    signal.signal(signal.SIGINT, signal.SIG_DFL)
    if address := next((argument for argument in sys.argv[1:] if not argument.startswith("-")), None):
        servicer.attach(address)
    engine = os.getppid()
    _, port = start(servicer)
    print(port, flush=True)
    meanwhile()
    while os.getppid() == engine:
        time.sleep(0.5)
    deadline = time.monotonic() + _LINGER
    while servicer.busy and time.monotonic() < deadline:
        time.sleep(0.5)
    os._exit(0)
