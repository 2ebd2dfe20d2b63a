"""The functions of the aws stand-in that the program calls."""

from __future__ import annotations

from lab.providers.aws import functions_ec2, tagging
from lab.providers.aws.api import Api
from lab.providers.protocol import PropertyMap
from lab.providers.resource import Function


def table(api: Api) -> dict[str, Function]:
    """The functions by token."""
    return {
        "aws:route53/getZone:getZone": lambda arguments: _zone(arguments, api),
        **functions_ec2.table(api),
    }


def _zone(arguments: PropertyMap, api: Api) -> PropertyMap:
    """The hosted zone with a name or id; raises RuntimeError for none or several."""
    client = api.client("route53")
    name, wanted = arguments.get("name", "").rstrip("."), arguments.get("zoneId", "")
    private = bool(arguments.get("privateZone"))
    with api.errors("route53", "reading Route53 Hosted Zones"):
        zones = [
            one
            for page in client.get_paginator("list_hosted_zones").paginate()
            for one in page["HostedZones"]
        ]
        fitting = [
            zone
            for zone in zones
            if (wanted and zone["Id"].endswith(f"/{wanted}"))
            or (name == zone["Name"].rstrip(".") and private == bool(zone["Config"].get("PrivateZone")))
        ]
        if not fitting:
            raise RuntimeError("no matching Route 53 Hosted Zone found")
        if len(fitting) > 1:
            raise RuntimeError(
                "multiple Route 53 Hosted Zones matched; use additional constraints to reduce them"
            )
        zone = fitting[0]
        id = zone["Id"].rpartition("/")[2]  # noqa: A001
        servers = client.get_hosted_zone(Id=id).get("DelegationSet", {}).get("NameServers", [])
        tags = client.list_tags_for_resource(ResourceType="hostedzone", ResourceId=id)["ResourceTagSet"]
    return {
        **arguments,
        "arn": f"arn:aws:route53:::hostedzone/{id}",
        "callerReference": zone.get("CallerReference"),
        "comment": zone["Config"].get("Comment", ""),
        "id": id,
        "name": zone["Name"].rstrip("."),
        "nameServers": servers,
        "primaryNameServer": servers[0] if servers else "",
        "privateZone": bool(zone["Config"].get("PrivateZone")),
        "resourceRecordSetCount": zone.get("ResourceRecordSetCount", 0),
        "tags": tagging.from_api(tags.get("Tags")),
        "zoneId": id,
    }
