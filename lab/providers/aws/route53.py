"""Route 53: records.  It is global, so they have no region."""

from __future__ import annotations

from typing import Any

from lab.providers.aws.base import AwsResource
from lab.providers.protocol import PropertyMap


class Record(AwsResource):
    """A record; its id is ZONE_NAME_TYPE, as in the real provider."""

    token, what, service = "aws:route53/record:Record", "Route53 Record", "route53"
    replace_on = ("name", "type", "zoneId")
    computed = ("fqdn", "allowOverwrite")
    _lacking = (
        "cidrRoutingPolicy",
        "failoverRoutingPolicies",
        "geolocationRoutingPolicies",
        "geoproximityRoutingPolicy",
        "latencyRoutingPolicies",
        "multivalueAnswerRoutingPolicy",
        "setIdentifier",
        "weightedRoutingPolicies",
    )

    def complaints(self, values: PropertyMap) -> list[tuple[str, str]]:
        found = [
            (name, "the lab's stand-in has simple records only") for name in self._lacking if name in values
        ]
        stated = [name for name in ("records", "aliases") if values.get(name)]
        if len(stated) != 1:
            found.append(("records", "one of `aliases,records` must be specified"))
        if values.get("records") and values.get("ttl") is None:
            found.append(("ttl", "all of `records,ttl` must be specified"))
        return found

    def comparable(self, inputs: PropertyMap) -> PropertyMap:
        name = str(inputs.get("name", "")).rstrip(".").lower()
        return {**super().comparable(inputs), "name": name, "allowOverwrite": None}

    def _record(self, client: Any, inputs: PropertyMap) -> dict[str, Any]:
        zone = client.get_hosted_zone(Id=inputs["zoneId"])["HostedZone"]["Name"]
        record: dict[str, Any] = {"Name": _expanded(inputs["name"], zone), "Type": inputs["type"]}
        if aliases := inputs.get("aliases"):
            target = aliases[0]
            record["AliasTarget"] = {
                "DNSName": target["name"],
                "HostedZoneId": target["zoneId"],
                "EvaluateTargetHealth": target.get("evaluateTargetHealth", False),
            }
            return record
        quoted = inputs["type"] in ("TXT", "SPF")
        values = [f'"{value}"' if quoted else value for value in inputs["records"]]
        return {**record, "TTL": inputs["ttl"], "ResourceRecords": [{"Value": value} for value in values]}

    def make(self, client: Any, inputs: PropertyMap) -> str:
        action = "UPSERT" if inputs.get("allowOverwrite") else "CREATE"
        _change(client, inputs["zoneId"], action, self._record(client, inputs))
        return f"{inputs['zoneId']}_{inputs['name'].lower()}_{inputs['type']}"

    def change(self, client: Any, id: str, old: PropertyMap, inputs: PropertyMap) -> None:
        _change(client, inputs["zoneId"], "UPSERT", self._record(client, inputs))

    def state_of(self, id: str) -> PropertyMap:
        zone, _, rest = id.partition("_")
        name, _, kind = rest.rpartition("_")
        return {"zoneId": zone, "name": name, "type": kind}

    def look(self, client: Any, id: str, state: PropertyMap) -> PropertyMap | None:
        zone = client.get_hosted_zone(Id=state["zoneId"])["HostedZone"]["Name"]
        name = _expanded(state["name"], zone)
        found = _found(client, state["zoneId"], name, state["type"])
        if found is None:
            return None
        target = found.get("AliasTarget")
        alias = target and {
            "name": target["DNSName"].rstrip("."),
            "zoneId": target["HostedZoneId"],
            "evaluateTargetHealth": target["EvaluateTargetHealth"],
        }
        return {
            "aliases": [alias] if alias else None,
            "fqdn": name,
            "name": state["name"],
            "records": [one["Value"].strip('"') for one in found.get("ResourceRecords", [])] or None,
            "ttl": found.get("TTL"),
            "type": found["Type"],
            "zoneId": state["zoneId"],
        }

    def drop(self, client: Any, id: str, state: PropertyMap) -> None:
        # As it is on AWS, which deletes a record only if the request has all its values.
        zone = client.get_hosted_zone(Id=state["zoneId"])["HostedZone"]["Name"]
        name = _expanded(state["name"], zone)
        if found := _found(client, state["zoneId"], name, state["type"]):
            _change(client, state["zoneId"], "DELETE", found)


def _found(client: Any, zone: str, name: str, kind: str) -> dict[str, Any] | None:
    answer = client.list_resource_record_sets(
        HostedZoneId=zone, StartRecordName=name, StartRecordType=kind, MaxItems="1"
    )
    found: dict[str, Any] = next(iter(answer["ResourceRecordSets"]), {})
    there = (_clean(found.get("Name", "")), found.get("Type")) == (name, kind)
    return found if there else None


def _change(client: Any, zone: str, action: str, record: dict[str, Any]) -> None:
    batch = {"Comment": "Managed by Pulumi", "Changes": [{"Action": action, "ResourceRecordSet": record}]}
    client.change_resource_record_sets(HostedZoneId=zone, ChangeBatch=batch)


def _expanded(name: str, zone: str) -> str:
    """The full name of a record, without the trailing dot; it may be configured without its zone."""
    whole, zone = name.lower().rstrip("."), zone.rstrip(".")
    return whole if whole == zone or whole.endswith(f".{zone}") else f"{whole}.{zone}".lstrip(".")


def _clean(name: str) -> str:
    return name.replace("\\052", "*").rstrip(".")


TYPES: tuple[type[AwsResource], ...] = (Record,)
