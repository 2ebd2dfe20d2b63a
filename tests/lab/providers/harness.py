"""What the provider tests stand on: the engine's side of the protocol, a real sshd, a moto server."""

from __future__ import annotations

import getpass
import shutil
import socket
import subprocess
import threading
import time
from collections.abc import Callable, Iterator
from concurrent import futures
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import boto3
import grpc
from google.protobuf import empty_pb2
from pulumi.runtime.proto import (
    engine_pb2,
    engine_pb2_grpc,
    plugin_pb2,
    provider_pb2,
    provider_pb2_grpc,
    status_pb2,
)

from lab.providers.plugin import start
from lab.providers.protocol import PropertyMap, dump, load
from lab.providers.servicer import Servicer
from lab.services import wait_for
from tests.ports import free_port

REMOTE = "command:remote:Command"
SSHD = shutil.which("sshd", path="/usr/sbin:/usr/local/sbin:/usr/bin")


class _Log(engine_pb2_grpc.EngineServicer):
    def __init__(self) -> None:
        self.requests: list[engine_pb2.LogRequest] = []

    def Log(self, request: engine_pb2.LogRequest, context: grpc.ServicerContext) -> empty_pb2.Empty:  # noqa: N802
        self.requests.append(request)
        return empty_pb2.Empty()


@dataclass
class Diff:
    """What an engine shows of a diff: the way of each changed path, and what forces a replacement."""

    paths: dict[str, str] = field(default_factory=dict)
    replaces: list[str] = field(default_factory=list)
    deleted_first: bool = False


class Provider:
    """A provider served on loopback, spoken to as the engine speaks to it, property maps as plain dicts."""

    def __init__(self, servicer: Servicer) -> None:
        self._log = _Log()
        self._engine = grpc.server(futures.ThreadPoolExecutor(4))
        engine_pb2_grpc.add_EngineServicer_to_server(self._log, self._engine)
        engine_port = self._engine.add_insecure_port("127.0.0.1:0")
        self._engine.start()
        self._server, port = start(servicer)
        self._channel = grpc.insecure_channel(f"127.0.0.1:{port}")
        self._stub = provider_pb2_grpc.ResourceProviderStub(self._channel)
        self._stub.Attach(plugin_pb2.PluginAttach(address=f"127.0.0.1:{engine_port}"))

    def close(self) -> None:
        self._channel.close()
        self._server.stop(None).wait()
        self._engine.stop(None).wait()

    def lose_engine(self) -> None:
        self._engine.stop(None).wait()

    @property
    def messages(self) -> list[str]:
        return [request.message for request in self._log.requests]

    @property
    def lasting_messages(self) -> list[str]:
        """Those that stay in the log, against those that are only shown while the work goes on."""
        return [request.message for request in self._log.requests if not request.ephemeral]

    def configure(self, **config: Any) -> None:
        self._stub.Configure(provider_pb2.ConfigureRequest(args=dump(config)))

    def cancel(self) -> None:
        self._stub.Cancel(empty_pb2.Empty())

    def invoke(self, token: str, **arguments: Any) -> PropertyMap:
        answer = self._stub.Invoke(provider_pb2.InvokeRequest(tok=token, args=dump(arguments)))
        return load(getattr(answer, "return"))

    def check(
        self, token: str, news: PropertyMap, olds: PropertyMap | None = None, name: str = "thing"
    ) -> PropertyMap:
        """The inputs to store; raises AssertionError with the failures."""
        failures, inputs = self.failures(token, news, olds, name)
        assert not failures, failures
        return inputs

    def failures(
        self, token: str, news: PropertyMap, olds: PropertyMap | None = None, name: str = "thing"
    ) -> tuple[dict[str, str], PropertyMap]:
        request = provider_pb2.CheckRequest(urn=urn(token, name), olds=dump(olds or {}), news=dump(news))
        answer = self._stub.Check(request)
        return {failure.property: failure.reason for failure in answer.failures}, load(answer.inputs)

    def diff(
        self,
        token: str,
        old: PropertyMap,
        new: PropertyMap,
        ignore: tuple[str, ...] = (),
        state: PropertyMap | None = None,
    ) -> Diff:
        """`state` are the former outputs; without it the former inputs are all there is."""
        answer = self._stub.Diff(
            provider_pb2.DiffRequest(
                urn=urn(token),
                olds=dump(state or old),
                old_inputs=dump(old),
                news=dump(new),
                ignoreChanges=ignore,
            )
        )
        kinds = provider_pb2.PropertyDiff.Kind
        paths = {path: kinds.Name(detail.kind) for path, detail in answer.detailedDiff.items()}
        assert (answer.changes == answer.DIFF_SOME) == bool(paths)
        return Diff(paths, list(answer.replaces), answer.deleteBeforeReplace)

    def create(self, token: str, inputs: PropertyMap, *, preview: bool = False) -> tuple[str, PropertyMap]:
        request = provider_pb2.CreateRequest(urn=urn(token), properties=dump(inputs), preview=preview)
        answer = self._stub.Create(request)
        return answer.id, load(answer.properties)

    def update(
        self,
        token: str,
        id: str,
        state: PropertyMap,
        inputs: PropertyMap,
        *,
        preview: bool = False,
        ignore: tuple[str, ...] = (),
    ) -> PropertyMap:
        request = provider_pb2.UpdateRequest(
            urn=urn(token),
            id=id,
            olds=dump(state),
            news=dump(inputs),
            preview=preview,
            ignoreChanges=ignore,
        )
        return load(self._stub.Update(request).properties)

    def read(
        self, token: str, id: str, state: PropertyMap | None = None, inputs: PropertyMap | None = None
    ) -> tuple[str, PropertyMap, PropertyMap]:
        request = provider_pb2.ReadRequest(
            urn=urn(token), id=id, properties=dump(state or {}), inputs=dump(inputs or {})
        )
        answer = self._stub.Read(request)
        return answer.id, load(answer.properties), load(answer.inputs)

    def delete(self, token: str, id: str, state: PropertyMap) -> None:
        self._stub.Delete(provider_pb2.DeleteRequest(urn=urn(token), id=id, properties=dump(state)))

    def restated(self, token: str, stored: PropertyMap, without: str = "", **changed: Any) -> PropertyMap:
        """The inputs to store when the program states something else; what the provider added is left out."""
        news = {key: value for key, value in stored.items() if key not in ("tagsAll", without)}
        return self.check(token, {**news, **changed}, stored)

    def made(self, token: str, inputs: PropertyMap) -> tuple[str, PropertyMap, PropertyMap]:
        """Check and create, as an `up` does: (id, state, stored inputs)."""
        stored = self.check(token, inputs)
        made, state = self.create(token, stored)
        return made, state, stored


def urn(token: str, name: str = "thing") -> str:
    return f"urn:pulumi:dev::test::{token}::{name}"


def error(refused: grpc.RpcError) -> str:
    """The error line the engine would show."""
    assert isinstance(refused, grpc.Call)
    return refused.details() or ""


def remembered(refused: grpc.RpcError) -> provider_pb2.ErrorResourceInitFailed:
    """What the engine would keep of a creation that failed; empty when it is nothing."""
    assert isinstance(refused, grpc.Call)
    kept = provider_pb2.ErrorResourceInitFailed()
    for key, value in refused.trailing_metadata() or ():
        if key == "grpc-status-details-bin":
            assert isinstance(value, bytes)
            for detail in status_pb2.Status.FromString(value).details:
                detail.Unpack(kept)
    return kept


def made_zone() -> str:
    """The id of a new zone example.com."""
    route53: Any = boto3.client("route53", region_name="eu-west-1")
    zone = route53.create_hosted_zone(Name="example.com", CallerReference=time.asctime())["HostedZone"]["Id"]
    return str(zone).rpartition("/")[2]


@contextmanager
def serving(servicer: Servicer) -> Iterator[Provider]:
    provider = Provider(servicer)
    try:
        yield provider
    finally:
        provider.close()


class Sshd:
    """A real OpenSSH server on a high loopback port, for the user who runs the tests."""

    def __init__(self, folder: Path, *options: str) -> None:
        if SSHD is None:
            raise RuntimeError("there is no sshd on this machine")
        self.folder, self.port, self.user = folder, free_port(), getpass.getuser()
        for name in ("host", "user"):
            keygen = ["ssh-keygen", "-q", "-t", "ed25519", "-N", "", "-f", str(folder / name)]
            subprocess.run(keygen, check=True)
        self.host_key = " ".join((folder / "host.pub").read_text().split()[:2])
        self.private_key = (folder / "user").read_text()
        config = [
            f"Port {self.port}",
            "ListenAddress 127.0.0.1",
            f"HostKey {folder}/host",
            f"AuthorizedKeysFile {folder}/user.pub",
            "StrictModes no",
            "UsePAM no",
            f"PidFile {folder}/pid",
            "LogLevel VERBOSE",
            *options,
        ]
        (folder / "config").write_text("\n".join(config) + "\n")
        self._process: subprocess.Popen[bytes] | None = None

    def start(self) -> None:
        Path("/run/sshd").mkdir(exist_ok=True) if self.user == "root" else None
        command = [SSHD or "", "-D", "-f", str(self.folder / "config"), "-E", str(self.folder / "log")]
        self._process = subprocess.Popen(command)
        deadline = time.monotonic() + 10
        while True:
            try:
                socket.create_connection(("127.0.0.1", self.port), 1).close()
            except OSError:
                assert time.monotonic() < deadline, (self.folder / "log").read_text()
                time.sleep(0.02)
            else:
                return

    def stop(self) -> None:
        if self._process:
            self._process.terminate()
            self._process.wait(10)

    def connection(self, **other: Any) -> PropertyMap:
        own = {"host": "127.0.0.1", "port": self.port, "user": self.user, "privateKey": self.private_key}
        return {**own, "hostKey": self.host_key, "dialErrorLimit": 0, "perDialTimeout": 15, **other}


def stored(sshd: Sshd, **inputs: Any) -> PropertyMap:
    """Inputs of a remote command on this server."""
    return {"connection": sshd.connection(), **inputs}


def once(ready: Callable[[], object], action: Callable[[], object]) -> threading.Thread:
    """Do something in the background as soon as something else is the case."""

    def wait_and_act() -> None:
        wait_for(ready, "the moment", 30)
        action()

    thread = threading.Thread(target=wait_and_act)
    thread.start()
    return thread
