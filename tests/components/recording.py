"""The whole program run against a monitor that records every registration as the engine would receive it."""

from __future__ import annotations

import json
import os
import runpy
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import pulumi
from pulumi.runtime import mocks, rpc, set_all_config, settings
from pulumi.runtime.proto import resource_pb2

from components.geo_container_registry import GeoContainerRegistry, GeoContainerRegistryArgs
from config.parsing import parse
from plan import key_rotation
from plan.resolve import resolve

PROJECT, STACK = "gitlab-geo-registry", "dev"
ADOPTED = {
    "registry_key": "PRIVATE-KEY",
    "registry_certificate": "CERTIFICATE",
    "fingerprint": "ab12",
}

GENERATED = {
    "registry_key": "NEW-PRIVATE-KEY",
    "registry_certificate": "NEW-CERTIFICATE",
    "fingerprint": "cd34",
}

CALLS: list[str] = []
"""The functions that were called since the list was last emptied."""

HOOKS: dict[str, pulumi.ErrorHook] = {}
"""Every hook's name → what the engine calls where a resource fails."""

INSTANCES: dict[str, str] = {}
"""Server's name in the stack → the architecture that it has on AWS."""

KEPT: dict[str, list[str]] = {}
"""Command's name → where a kept storage is found to be."""

PAIRS: dict[key_rotation.KeyRotation, key_rotation.State] = {}
"""The numbers in the configuration → the state that the engine keeps because it refuses them."""

ZONES = ["ap-northeast-1d", "ap-northeast-1a", "ap-northeast-1c"]
"""The availability zones of every region; that of the site `single` has the first one only."""


PARTS = {
    f"gitlabgeo:index:{part}"
    for part in (
        *("GeoContainerRegistry", "RegistrySecrets", "RegistryStorage", "StorageAccess", "ExistingStorage"),
        *("LockFile", "RegistryTrust", "Verification", "ExclusiveInstances", "ExclusiveUser"),
        *("AwsSite", "AwsNetwork", "AwsFirewall", "AwsInstance", "AwsDatabase"),
    )
}
"""Components that have a name in common with another: they are recorded as `AwsNetwork tokyo`."""


def plain(name: str) -> str:
    """A resource's name without that of the program's one component: `registry-tokyo-1` → `tokyo-1`."""
    return name.removeprefix("registry-")


@dataclass(frozen=True)
class Registration:
    """One resource as it was declared; secrets in `inputs` are wrapped as the protocol wraps them."""

    type: str
    name: str
    parent: str
    inputs: dict[str, Any]
    request: resource_pb2.RegisterResourceRequest

    @property
    def provider(self) -> str:
        """The name of the provider that makes it."""
        return plain(self.request.provider.split("::")[-2])

    def plain(self, key: str) -> Any:
        """An input without its wrapping."""
        value = self.inputs[key]
        return value["value"] if self.secret(key) else value

    @property
    def depends_on(self) -> set[str]:
        """The names of what it depends on."""
        return {plain(urn.split("::")[-1]) for urn in self.request.dependencies}

    def secret(self, key: str) -> bool:
        value = self.inputs[key]
        return isinstance(value, dict) and value.get(rpc._special_sig_key) == rpc._special_secret_sig


class _Monitor(mocks.MockMonitor):
    def __init__(self, provided: mocks.Mocks) -> None:
        super().__init__(provided)
        self.recorded: dict[str, Registration] = {}
        self.declared: list[tuple[str, str]] = []

    def RegisterResource(self, request: resource_pb2.RegisterResourceRequest) -> Any:  # noqa: N802 (protocol)
        inputs = json.loads(_json(request.object))
        self.declared.append((request.type, request.name))
        parent = plain(request.parent.split("::")[-1])
        name = plain(request.name)
        key = f"{request.type.rpartition(':')[2]} {name}" if request.type in PARTS else name
        self.recorded[key] = Registration(request.type, name, parent, inputs, request)
        return super().RegisterResource(request)  # type: ignore[no-untyped-call]


class _Callbacks:
    """The server of the program's hooks, which the SDK starts for a real engine only."""

    def register_error_hook(self, hook: pulumi.ErrorHook) -> None:
        HOOKS[hook.name] = hook


def _json(struct: Any) -> str:
    from google.protobuf import json_format

    return str(json_format.MessageToJson(struct))


def rotated(before: key_rotation.State, wanted: key_rotation.KeyRotation) -> key_rotation.State:
    """The state after these numbers, as the engine keeps it."""
    if wanted.number and not wanted.overlapping:
        before = rotated(before, key_rotation.KeyRotation(wanted.number, wanted.number - 1, 0))
    return key_rotation.following(before, wanted, ADOPTED, lambda: GENERATED)


def _generated(name: str, inputs: dict[str, Any]) -> dict[str, Any]:
    """The outputs of a dynamic resource, at its creation."""
    if "wanted" in inputs:
        wanted, begun = key_rotation.KeyRotation(*inputs["wanted"]), key_rotation.KeyRotation(0, 0, 0)
        before = key_rotation.first(begun, ADOPTED)
        return {"pair": PAIRS.get(wanted) or rotated(before, wanted)}
    if "applied" in inputs:
        return {"fingerprint": inputs["applied"]}
    if "length" in inputs:
        return {"value": f"generated-{name}"}
    return {"private_key": f"generated-{name}", "public_key": f"ssh-ed25519 {name}"}


class _Mocks(mocks.Mocks):
    def new_resource(self, args: mocks.MockResourceArgs) -> tuple[str | None, dict[Any, Any]]:
        name = plain(args.name)
        extra: dict[str, Any] = {}
        if args.typ == "command:remote:Command":
            place = KEPT.get(name, ["a-machine", "registry"])
            read = {"storage": {"driver": "filesystem", "place": place}}
            result = {"proof": {"asked": "yes"}, "fingerprint": "ab12"}
            extra = {"stdout": json.dumps({"key": ADOPTED}.get(name.rpartition("-")[2], {**read, **result}))}
        elif args.typ.startswith("pulumi-python:dynamic"):
            extra = _generated(name, args.inputs)
        elif args.typ.endswith("Eip"):
            extra = {"publicIp": f"address-of-{name}", "allocationId": f"allocation-of-{name}"}
        elif args.typ == "aws:rds/instance:Instance":
            extra = {"address": f"{name}.rds.amazonaws.com"}
        elif args.typ.startswith("aws:rds/"):
            extra = {"name": f"{name}-1a2b3c4"}
        elif args.typ.endswith("KeyPair"):
            extra = {"keyName": name}
        elif args.typ.endswith(("Role", "InstanceProfile", "RolePolicy", "UserPolicy")):
            extra = {"name": name}
        elif args.typ.endswith("AccessKey"):
            extra = {"secret": f"secret-of-{name}"}
        elif args.typ.endswith("User"):
            extra = {"name": name}
        return f"id-of-{name}", {**args.inputs, **extra}

    def call(self, args: mocks.MockCallArgs) -> Any:
        CALLS.append(args.token)
        if args.token == "aws:ec2/getAmiIds:getAmiIds":
            names, kinds = (f["values"] for f in args.args["filters"])
            return {"ids": [] if "GitLab EE 99.9.9" in names else [f"ami-of-{kinds[0]}", "ami-older"]}
        if args.token == "aws:ec2/getInstances:getInstances":
            wanted = {one["name"]: one["values"] for one in args.args["filters"]}
            assert wanted["tag:pulumi-stack"] == [STACK]
            assert set(args.args["instanceStateNames"]) == {"pending", "running", "stopping", "stopped"}
            found = [
                f"i-{name}"
                for name, kind in INSTANCES.items()
                if f"registry-{name}" in wanted["tag:gitlab-geo-instance"] and kind in wanted["architecture"]
            ]
            return {"ids": found}
        if args.token == "aws:index/getAvailabilityZones:getAvailabilityZones":
            assert args.args["state"] == "available"
            assert args.args["filters"] == [{"name": "zone-type", "values": ["availability-zone"]}]
            return {"names": ZONES[: 1 if "-single-aws" in str(args.provider) else 3]}
        if args.token == "aws:route53/getZone:getZone":
            return {"zoneId": f"zone-{args.args['name']}"}
        raise AssertionError(f"the program calls {args.token}")


def record(raw: dict[str, Any], *, preview: bool = False) -> dict[str, Registration]:
    """Resource name → how the program declares it for a configuration (types are in the names' uniqueness)."""
    config = {f"{PROJECT}:{k}": v if isinstance(v, str) else json.dumps(v) for k, v in raw.items()}
    # As Pulumi's language host does: only there a program can see which keys there are.
    os.environ["PULUMI_CONFIG"] = json.dumps(config)
    set_all_config({**config, "aws:region": "eu-west-1"})
    try:
        return _run(lambda: runpy.run_path("__main__.py", run_name="__main__"), preview=preview).recorded
    finally:
        set_all_config({})
        del os.environ["PULUMI_CONFIG"]


def declared(deployments: dict[str, dict[str, Any]]) -> list[tuple[str, str]]:
    """Type and name of every resource of a program with several deployments: component's name → configuration."""

    def program() -> None:
        for name, raw in deployments.items():
            deployment, errors = parse(raw)
            assert deployment, errors
            GeoContainerRegistry(name, GeoContainerRegistryArgs(resolve(deployment)))

    return [one for one in _run(program).declared if one[0] != "pulumi:pulumi:Stack"]


def _run(program: Callable[[], object], *, preview: bool = False) -> _Monitor:
    monitor = _Monitor(_Mocks())
    mocks.set_mocks(monitor.mocks, project=PROJECT, stack=STACK, preview=preview, monitor=monitor)
    settings.SETTINGS.callbacks = _Callbacks()
    pulumi.runtime.test(program)()  # type: ignore[no-untyped-call]
    return monitor


__all__ = ["ADOPTED", "CALLS", "INSTANCES", "KEPT", "Registration", "declared", "plain", "pulumi", "record"]
