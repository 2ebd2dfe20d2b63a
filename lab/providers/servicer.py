"""The provider protocol (pulumirpc.ResourceProvider) for a table of `Resource`s.

It uses the raw gRPC servicer, because the SDK's `pulumi.provider.Provider` has no resource operations and its
`experimental` one loses asset hashes and old inputs.
"""

from __future__ import annotations

import contextlib
import functools
import threading
from collections.abc import Callable, Iterator, Mapping
from typing import Any, TypeVar

import grpc
from google.protobuf import any_pb2, empty_pb2
from pulumi.runtime.proto import engine_pb2, engine_pb2_grpc, plugin_pb2, provider_pb2_grpc, status_pb2
from pulumi.runtime.proto import provider_pb2 as pb

from lab.providers.answers import diff, rewrap
from lab.providers.protocol import dump, load, plain
from lab.providers.resource import Call, Configure, Function, HalfMade, Invalid, Resource, Severity

_UNKNOWN = 2  # gRPC's number of StatusCode.UNKNOWN
# Property maps with whole files in them are larger than gRPC's 4 MiB.
MESSAGE_SIZES = [("grpc.max_receive_message_length", 400 << 20), ("grpc.max_send_message_length", 400 << 20)]
_F = TypeVar("_F", bound=Callable[..., Any])


class _Partly(Exception):
    """A failure that leaves a resource behind; `detail` is what the engine stores of it."""

    def __init__(self, reason: str, detail: pb.ErrorResourceInitFailed) -> None:
        super().__init__(reason)
        self.detail = detail


def _reported(method: _F) -> _F:
    """Converts an exception to the one error line that the engine shows for the resource."""

    @functools.wraps(method)
    def call(self: Servicer, request: Any, context: grpc.ServicerContext) -> Any:
        try:
            with self.working():
                return method(self, request, context)
        except Exception as problem:  # noqa: BLE001  # the engine reports it
            text = str(problem) or repr(problem)
            if isinstance(problem, _Partly):
                detail = any_pb2.Any()
                detail.Pack(problem.detail)
                status = status_pb2.Status(code=_UNKNOWN, message=text, details=[detail])
                context.set_trailing_metadata((("grpc-status-details-bin", status.SerializeToString()),))
            context.abort(grpc.StatusCode.UNKNOWN, text)

    return call  # type: ignore[return-value]


class Servicer(provider_pb2_grpc.ResourceProviderServicer):
    """One provider: its resources and functions by type token."""

    def __init__(
        self,
        version: str,
        resources: Mapping[str, Resource],
        functions: Mapping[str, Function] | None = None,
        configure: Configure | None = None,
    ) -> None:
        self._version = version
        self._resources = resources
        self._functions = functions or {}
        self._configure = configure
        self._engine: engine_pb2_grpc.EngineStub | None = None
        self._canceled = threading.Event()
        self._busy = 0
        self._lock = threading.Lock()

    def attach(self, address: str) -> None:
        """Connect back to the engine at host:port, for the log."""
        self._engine = engine_pb2_grpc.EngineStub(grpc.insecure_channel(address, options=MESSAGE_SIZES))

    @contextlib.contextmanager
    def working(self) -> Iterator[None]:
        with self._lock:
            self._busy += 1
        try:
            yield
        finally:
            with self._lock:
                self._busy -= 1

    @property
    def busy(self) -> bool:
        return self._busy > 0

    # -- the plugin itself ----------------------------------------------------------------------------------
    def Attach(self, request: plugin_pb2.PluginAttach, context: grpc.ServicerContext) -> empty_pb2.Empty:
        self.attach(request.address)
        return empty_pb2.Empty()

    def GetPluginInfo(self, request: empty_pb2.Empty, context: grpc.ServicerContext) -> plugin_pb2.PluginInfo:
        return plugin_pb2.PluginInfo(version=self._version)

    def Cancel(self, request: empty_pb2.Empty, context: grpc.ServicerContext) -> empty_pb2.Empty:
        self._canceled.set()
        return empty_pb2.Empty()

    def GetSchema(self, request: pb.GetSchemaRequest, context: grpc.ServicerContext) -> pb.GetSchemaResponse:
        return pb.GetSchemaResponse(schema="{}")

    def CheckConfig(self, request: pb.CheckRequest, context: grpc.ServicerContext) -> pb.CheckResponse:
        return pb.CheckResponse(inputs=request.news)

    def DiffConfig(self, request: pb.DiffRequest, context: grpc.ServicerContext) -> pb.DiffResponse:
        return diff(plain(load(request.old_inputs)), plain(load(request.news)), ())

    @_reported
    def Configure(self, request: pb.ConfigureRequest, context: grpc.ServicerContext) -> pb.ConfigureResponse:
        if self._configure:
            self._configure(plain(load(request.args)))
        return pb.ConfigureResponse(acceptSecrets=True, supportsPreview=True)

    @_reported
    def Invoke(self, request: pb.InvokeRequest, context: grpc.ServicerContext) -> pb.InvokeResponse:
        if request.tok not in self._functions:
            raise KeyError(f"the lab's stand-in provider has no function {request.tok}")
        result = self._functions[request.tok](plain(load(request.args)))
        fields: Any = {"return": dump(result)}  # a keyword of Python
        return pb.InvokeResponse(**fields)

    # -- resources -------------------------------------------------------------------------------------------
    @_reported
    def Check(self, request: pb.CheckRequest, context: grpc.ServicerContext) -> pb.CheckResponse:
        resource, call = self._resource(request.urn, seed=request.randomSeed)
        try:
            return pb.CheckResponse(inputs=dump(resource.check(call, load(request.news), load(request.olds))))
        except Invalid as invalid:
            failures = [pb.CheckFailure(property=where, reason=why) for where, why in invalid.failures]
            return pb.CheckResponse(inputs=request.news, failures=failures)

    @_reported
    def Diff(self, request: pb.DiffRequest, context: grpc.ServicerContext) -> pb.DiffResponse:
        resource, call = self._resource(request.urn)
        old, new = plain(load(request.old_inputs)), plain(load(request.news))
        for name in request.ignoreChanges:
            if name in old:
                new[name] = old[name]
            else:
                new.pop(name, None)
        former, expected = resource.implied(new, plain(load(request.olds)))
        answer = diff(
            {**resource.comparable(old), **former},
            {**resource.comparable(new), **expected},
            resource.replaced_by(old, new),
        )
        answer.deleteBeforeReplace = bool(answer.replaces) and resource.deleted_first(call.name, old, new)
        return answer

    @_reported
    def Create(self, request: pb.CreateRequest, context: grpc.ServicerContext) -> pb.CreateResponse:
        resource, call = self._resource(request.urn)
        inputs = load(request.properties)
        if request.preview:
            return pb.CreateResponse(properties=dump(resource.preview(inputs, {})))
        try:
            made, outputs = resource.create(call, plain(inputs))
        except HalfMade as half:
            kept = dump(rewrap(inputs, half.outputs))
            detail = pb.ErrorResourceInitFailed(id=half.id, properties=kept, inputs=dump(inputs))
            detail.reasons.append(str(half))
            raise _Partly(str(half), detail) from half
        return pb.CreateResponse(id=made, properties=dump(rewrap(inputs, outputs)))

    @_reported
    def Update(self, request: pb.UpdateRequest, context: grpc.ServicerContext) -> pb.UpdateResponse:
        resource, call = self._resource(request.urn)
        inputs, old = load(request.news), load(request.olds)
        if request.preview:
            return pb.UpdateResponse(properties=dump(resource.preview(inputs, old)))
        ignored = tuple(request.ignoreChanges)
        outputs = resource.update(
            call, request.id, plain(old), resource.ignoring(plain(inputs), plain(old), ignored)
        )
        # A computed output that was a secret remains one; an input is a secret only if the program currently
        # marks it.
        wrappings = {key: old[key] for key in resource.computed if key in old} | inputs
        return pb.UpdateResponse(properties=dump(rewrap(wrappings, outputs)))

    @_reported
    def Read(self, request: pb.ReadRequest, context: grpc.ServicerContext) -> pb.ReadResponse:
        resource, call = self._resource(request.urn)
        state, inputs = load(request.properties), load(request.inputs)
        found = resource.read(call, request.id, plain(state), plain(inputs))
        if found is None:
            return pb.ReadResponse(id="")
        name, outputs, now = found
        properties, inputs = rewrap(state, outputs), rewrap(inputs, now)
        return pb.ReadResponse(id=name, properties=dump(properties), inputs=dump(inputs))

    @_reported
    def Delete(self, request: pb.DeleteRequest, context: grpc.ServicerContext) -> empty_pb2.Empty:
        resource, call = self._resource(request.urn)
        resource.delete(call, request.id, plain(load(request.properties)))
        return empty_pb2.Empty()

    def _resource(self, urn: str, seed: bytes = b"") -> tuple[Resource, Call]:
        # urn:pulumi:<stack>::<project>::<parent type$…$type>::<name>
        token = urn.split("::")[2].rpartition("$")[2]
        if token not in self._resources:
            raise KeyError(f"the lab's stand-in provider has no resource type {token}")

        def log(text: str, severity: Severity = Severity.INFO, *, status: bool = True) -> None:
            if self._engine:
                level = engine_pb2.LogSeverity.ValueType(int(severity))
                request = engine_pb2.LogRequest(severity=level, message=text, urn=urn, ephemeral=status)
                # An engine that was killed must not stop the command whose output this is.
                with contextlib.suppress(grpc.RpcError):
                    self._engine.Log(request)

        return self._resources[token], Call(urn, log, seed, self._canceled)
