"""The host of a registry that is not omnibus': its config.yml is edited and proven in one session."""

from __future__ import annotations

import base64
import bz2
import json
from collections.abc import Mapping, Sequence
from functools import cache
from pathlib import Path
from typing import Any

import pulumi
import yaml

from components import node
from components.hosts import Reach
from omnibus import external, storage
from omnibus.model import Deployment

SCRIPTS = Path(__file__).parent / "scripts" / "registry"
# Of PyYAML, which the host need not have, the part that is Python and reads.
YAML = ("error", "events", "nodes", "parser", "reader", "resolver", "scanner", "tokens")


@cache
def program() -> str:
    """The Python program that runs on the host; behind it comes the call with its order.

    Packed by bz2, whose output is the same on every machine that runs the stack; zlib's is not.
    """
    sources = {"yaml": "", "registry": ""}
    sources |= {f"yaml.{name}": _text(Path(yaml.__file__).parent / f"{name}.py") for name in YAML}
    own = [path for path in SCRIPTS.glob("*.py") if path.stem not in ("__init__", "start")]
    sources |= {f"registry.{path.stem}": _text(path) for path in own}
    packed = base64.b64encode(bz2.compress(json.dumps(sources, sort_keys=True).encode()))
    return f"{_text(SCRIPTS / 'start.py')}\n\nPACKED = {packed.decode()!r}\n"


def _text(path: Path) -> str:
    return path.read_text(encoding="utf-8")


class ExternalRegistryHost(pulumi.ComponentResource):
    """Inputs shown in a preview: site and every value that is set in its config.yml. `proof` is its result.

    `checked` and `after` as of a node of GitLab.
    """

    def __init__(
        self,
        name: str,
        deployment: Deployment,
        site: str,
        *,
        reach: Reach,
        secrets: Mapping[str, pulumi.Input[Any]],
        checked: pulumi.Input[bool],
        after: Sequence[pulumi.Resource],
        opts: pulumi.ResourceOptions | None = None,
    ) -> None:
        order = {**_order(deployment, site, name, secrets), "storage_checked": checked}
        shown = {"site": site, "settings": external.preview(deployment, site, order["certificate"])}
        super().__init__("gitlabgeo:index:ExternalRegistryHost", name, shown, opts)
        command = node.session(
            name,
            deployment,
            site,
            reach=reach,
            lines={verb: command_line(deployment, site, name, verb) for verb in ("apply", "undo")},
            stdin=stdin(order),
            after=after,
            parent=self,
        )
        self.result: pulumi.Output[dict[str, Any]] = command.stdout.apply(json.loads)
        self.proof = self.result["proof"]
        self.register_outputs({"proof": self.proof})


def stdin(order: Mapping[str, Any]) -> pulumi.Output[str]:
    """The program and its order, as one secret."""
    text = pulumi.Output.json_dumps(order)
    return pulumi.Output.secret(text.apply(lambda told: f"{program()}run(PACKED, {told!r})\n"))


def command_line(deployment: Deployment, site: str, name: str, verb: str) -> str:
    """`… python3 -I - apply`: as itself, with nothing of the environment and of the user's own modules."""
    return node.as_root(deployment, site, name, f"python3 -I - {verb}")


def inspection(deployment: Deployment, site: str, name: str) -> dict[str, Any]:
    """The order of a look at the host; nothing secret."""
    return {
        "node": name,
        "site": site,
        "config": deployment.sites[site].external_hosts[name].config,
        "reconfigure_seconds": deployment.reconfigure_seconds,
        "secrets": {},
    }


def _order(
    deployment: Deployment, site: str, name: str, secrets: Mapping[str, pulumi.Input[Any]]
) -> dict[str, Any]:
    """All that the program on the host must know. The registry key is not in it."""
    hosts, driver = deployment.sites[site].external_hosts, deployment.driver_of(site)
    host, primary = hosts[name], site == deployment.primary
    edits = external.edits(deployment, site, host.certificate)
    given = {key: secrets[key] for key in external.secret_names(edits)}
    events = {"url": external.events_url(deployment), "secret": secrets["notification_secret"]}
    return {
        **inspection(deployment, site, name),
        "owner": f"{pulumi.get_organization()}/{pulumi.get_project()}/{pulumi.get_stack()}",
        "resource": f"{'primary' if primary else 'secondary'}/{name}",
        "certificate": host.certificate,
        "certificate_text": secrets["registry_certificate"],
        "restart": host.restart,
        "edits": external.resolved(edits, given),
        "secrets": given,
        "storage": {**storage.identity(driver), "shown": storage.shown(driver)} if driver else None,
        "data_moved": deployment.storage.data_moved,
        "challenge": {"realm": external.realm(deployment, site), "service": external.SERVICE},
        "events": events if primary else None,
        "registry_url": deployment.sites[site].own_registry_url,
        # Else another could answer for the site.
        "alone": len(hosts) == 1,
        "asked": deployment.proof,
    }


def lines(
    deployment: Deployment, site: str, secrets: Mapping[str, pulumi.Input[Any]]
) -> pulumi.Output[dict[str, str]]:
    """The lines of the registry's `config.yml` and its `certificate`, for a person to put in; secret."""
    names = external.secret_names(external.edits(deployment, site, external.CERTIFICATE))
    found = pulumi.Output.all(**{name: secrets[name] for name in {*names, "registry_certificate"}})
    return pulumi.Output.secret(
        found.apply(
            lambda values: {
                "config.yml": external.snippet(deployment, site, values),
                "certificate": values["registry_certificate"],
            }
        )
    )
