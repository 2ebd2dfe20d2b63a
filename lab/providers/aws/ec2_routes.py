"""EC2: route tables, with each route and each association as a separate resource."""

from __future__ import annotations

import zlib
from typing import Any

from lab.providers.aws.base import AwsResource
from lab.providers.aws.ec2 import Ec2Resource, by
from lab.providers.aws.shapes import pick
from lab.providers.protocol import PropertyMap

_DESTINATIONS = ("destinationCidrBlock", "destinationIpv6CidrBlock", "destinationPrefixListId")
_TARGETS = {
    "carrierGatewayId": "CarrierGatewayId",
    "egressOnlyGatewayId": "EgressOnlyInternetGatewayId",
    "gatewayId": "GatewayId",
    "natGatewayId": "NatGatewayId",
    "networkInterfaceId": "NetworkInterfaceId",
    "transitGatewayId": "TransitGatewayId",
    "vpcPeeringConnectionId": "VpcPeeringConnectionId",
}


class RouteTable(Ec2Resource):
    token, what, kind = "aws:ec2/routeTable:RouteTable", "EC2 Route Table", "route-table"
    replace_on = ("region", "vpcId")
    computed = ("arn", "ownerId", "propagatingVgws", "routes", "tagsAll")

    def complaints(self, values: PropertyMap) -> list[tuple[str, str]]:
        return (
            [("routes", "the lab's stand-in has only aws.ec2.Route for it")] if values.get("routes") else []
        )

    def make(self, client: Any, inputs: PropertyMap) -> str:
        made = client.create_route_table(VpcId=inputs["vpcId"], **self.tagged(inputs))
        return str(made["RouteTable"]["RouteTableId"])

    def look(self, client: Any, id: str, state: PropertyMap) -> PropertyMap:
        found = client.describe_route_tables(RouteTableIds=[id])["RouteTables"][0]
        routes = [
            {
                "cidrBlock": route.get("DestinationCidrBlock", ""),
                **{
                    name: route[api]
                    for name, api in _TARGETS.items()
                    if name in ("gatewayId", "natGatewayId") and api in route
                },
            }
            for route in found.get("Routes", [])
            if route.get("GatewayId") != "local"
        ]
        own = {"vpcId": found["VpcId"], "routes": routes, "propagatingVgws": []}
        return {**self.common(found, id, state), **own}

    def drop(self, client: Any, id: str, state: PropertyMap) -> None:
        client.delete_route_table(RouteTableId=id)


class Route(AwsResource):
    """A route; its id consists of the table's id and a checksum of the destination, as in the real one."""

    token, what, service = "aws:ec2/route:Route", "EC2 Route", "ec2"
    replace_on = (*_DESTINATIONS, "region", "routeTableId")
    computed = ("instanceId", "instanceOwnerId", "networkInterfaceId", "origin", "state")

    def complaints(self, values: PropertyMap) -> list[tuple[str, str]]:
        found = []
        for names in (_DESTINATIONS, tuple(_TARGETS)):
            stated = [name for name in names if values.get(name)]
            if len(stated) != 1:
                found.append(
                    (stated[-1] if stated else names[0], f"one of {', '.join(names)} must be specified")
                )
        return found

    @staticmethod
    def _destination(inputs: PropertyMap) -> dict[str, str]:
        return pick(inputs, *_DESTINATIONS)

    def _target(self, inputs: PropertyMap) -> dict[str, str]:
        return {api: inputs[name] for name, api in _TARGETS.items() if inputs.get(name)}

    def make(self, client: Any, inputs: PropertyMap) -> str:
        where = self._destination(inputs)
        client.create_route(RouteTableId=inputs["routeTableId"], **where, **self._target(inputs))
        return f"r-{inputs['routeTableId']}{zlib.crc32(next(iter(where.values())).encode())}"

    def change(self, client: Any, id: str, old: PropertyMap, inputs: PropertyMap) -> None:
        where = self._destination(inputs)
        client.replace_route(RouteTableId=inputs["routeTableId"], **where, **self._target(inputs))

    def state_of(self, id: str) -> PropertyMap:
        table, _, destination = id.partition("_")
        return {"routeTableId": table, "destinationCidrBlock": destination}

    def look(self, client: Any, id: str, state: PropertyMap) -> PropertyMap | None:
        table = client.describe_route_tables(RouteTableIds=[state["routeTableId"]])["RouteTables"][0]
        wanted = self._destination(state).items()
        route = next((route for route in table["Routes"] if wanted <= route.items()), None)
        if route is None:
            return None
        targets = {name: route.get(api) for name, api in _TARGETS.items()}
        return {
            **{name: route.get(name[:1].upper() + name[1:]) for name in _DESTINATIONS},
            **targets,
            "origin": route.get("Origin", "CreateRoute"),
            "routeTableId": state["routeTableId"],
            "state": route.get("State", "active"),
        }

    def drop(self, client: Any, id: str, state: PropertyMap) -> None:
        client.delete_route(RouteTableId=state["routeTableId"], **self._destination(state))


class RouteTableAssociation(AwsResource):
    token = "aws:ec2/routeTableAssociation:RouteTableAssociation"
    what, service = "EC2 Route Table Association", "ec2"
    replace_on = ("gatewayId", "region", "subnetId")

    def make(self, client: Any, inputs: PropertyMap) -> str:
        asked = pick(inputs, "routeTableId", "subnetId", "gatewayId")
        return str(client.associate_route_table(**asked)["AssociationId"])

    def change(self, client: Any, id: str, old: PropertyMap, inputs: PropertyMap) -> None:
        if found := self._find(client, old):
            client.replace_route_table_association(
                AssociationId=found["RouteTableAssociationId"], RouteTableId=inputs["routeTableId"]
            )

    @staticmethod
    def _find(client: Any, state: PropertyMap) -> dict[str, Any] | None:
        # By what it associates: another table changes the id, but the engine keeps the first.
        wanted = pick(state, "subnetId", "gatewayId").items()
        if state.get("subnetId"):
            tables = client.describe_route_tables(Filters=by(association__subnet_id=state["subnetId"]))
        else:
            tables = client.describe_route_tables(RouteTableIds=[state["routeTableId"]])
        every = [one for table in tables["RouteTables"] for one in table.get("Associations", [])]
        return next((one for one in every if wanted <= one.items()), None)

    def look(self, client: Any, id: str, state: PropertyMap) -> PropertyMap | None:
        found = self._find(client, state)
        if found is None:
            return None
        return {
            name: found.get(name[:1].upper() + name[1:]) for name in ("gatewayId", "routeTableId", "subnetId")
        }

    def drop(self, client: Any, id: str, state: PropertyMap) -> None:
        if found := self._find(client, state):
            client.disassociate_route_table(AssociationId=found["RouteTableAssociationId"])


TYPES: tuple[type[AwsResource], ...] = (RouteTable, Route, RouteTableAssociation)
