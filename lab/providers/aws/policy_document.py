"""aws.iam.get_policy_document: a policy's JSON out of its parts."""

from __future__ import annotations

import json
import zlib
from typing import Any

from lab.providers.protocol import PropertyMap


def evaluate(arguments: PropertyMap) -> PropertyMap:
    """The document, as the real provider writes it: a list of one is that one, two spaces in."""
    document: dict[str, Any] = {"Version": arguments.get("version") or "2012-10-17"}
    if arguments.get("policyId"):
        document["Id"] = arguments["policyId"]
    document["Statement"] = [_statement(one) for one in arguments.get("statements") or []]
    text = json.dumps(document, indent=2)
    slim = json.dumps(document, separators=(",", ":"))
    return {**arguments, "id": str(zlib.crc32(text.encode())), "json": text, "minifiedJson": slim}


def _statement(stated: PropertyMap) -> dict[str, Any]:
    made: dict[str, Any] = {"Sid": stated["sid"]} if stated.get("sid") else {}
    made["Effect"] = stated.get("effect") or "Allow"
    for name in ("actions", "notActions", "resources", "notResources"):
        if stated.get(name):
            made[f"{name[:1].upper()}{name[1:-1]}"] = _short(sorted(stated[name]))
    for name in ("principals", "notPrincipals"):
        if stated.get(name):
            made[f"{name[:1].upper()}{name[1:-1]}"] = _principals(stated[name])
    conditions: dict[str, dict[str, Any]] = {}
    for one in stated.get("conditions") or []:
        conditions.setdefault(one["test"], {})[one["variable"]] = _short(one["values"])
    return {**made, **({"Condition": conditions} if conditions else {})}


def _principals(stated: list[PropertyMap]) -> Any:
    if len(stated) == 1 and (stated[0]["type"], stated[0]["identifiers"]) == ("*", ["*"]):
        return "*"
    return {one["type"]: _short(sorted(one["identifiers"])) for one in stated}


def _short(values: list[str]) -> Any:
    return values[0] if len(values) == 1 else values
