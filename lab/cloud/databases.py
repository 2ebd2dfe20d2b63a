"""The lab's RDS: behind each instance in moto, a real PostgreSQL server in its VPC.

Real are the server at the endpoint's name with the master password, TLS, whose authority no host trusts,
`rds.force_ssl`, and security groups. Simulated are backups and snapshots, which have no content, a standby
(`multi_az`), sizes, and the time that AWS takes; the server's version is Debian's, whatever was requested. An
instance without a subnet group has no server.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

from moto.rds.models import DBInstance

from lab.authority import Authority
from lab.cloud import desired_state
from lab.cloud.desired_state import DatabaseServer
from lab.databases import DATABASE, USER, Database
from lab.host import RUN

AUTHORITY = RUN / "rds-authority.pem"
"""The stand-in of Amazon's own authority for RDS, with its key."""


def prepare() -> None:
    """Make moto report an instance as available only once its server runs."""
    create = DBInstance.__init__

    def created(self: DBInstance, *arguments: Any, **named: Any) -> None:
        create(self, *arguments, **named)
        if named.get("db_subnet_group_name"):
            self.status = "creating"

    DBInstance.__init__ = created  # type: ignore[method-assign]


def report(wanted: DatabaseServer, status: str) -> None:
    """Set the status that AWS reports of an instance."""
    for backend in desired_state.backends():
        for one in desired_state.databases_in(backend):
            if one.lab_interface.id == wanted.id:
                one.status = status


class Server(Database):
    """The server of an instance, in a network namespace that has its address."""

    def __init__(self, wanted: DatabaseServer) -> None:
        super().__init__(
            wanted.id,
            wanted.endpoint,
            wanted.private,
            _authority(),
            namespace=wanted.id,
            first_password=wanted.password,
        )

    def become(self, was: DatabaseServer | None, now: DatabaseServer) -> None:
        """Start it, or change what differs."""
        if (now.user, now.database) != (USER, DATABASE):
            raise ValueError(f"the lab's databases have the user {USER} and the database {DATABASE}")
        self.start()
        if was is None or was.tls_only != now.tls_only:
            self.require_tls(now.tls_only)
        if was is not None and was.password != now.password:
            self.change_password(now.password)


def _authority() -> Path:
    if not AUTHORITY.exists():
        Authority("Lab RDS CA").save(AUTHORITY)
    return AUTHORITY
