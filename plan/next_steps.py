"""The manual steps after a created site's first `pulumi up`: they need a license, a password or a decision.

The commands are those of GitLab's page "Set up Geo for two single-node sites", with this stack's values.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass

from config.metadata_database import POSTGRESQL_PORT
from config.model import Deployment

_SECRETS = "/etc/gitlab/gitlab-secrets.json"
_GITLAB_RB = "/etc/gitlab/gitlab.rb"
_POSTGRESQL = "/var/opt/gitlab/postgresql"


@dataclass(frozen=True)
class Place:
    """A node: public address, address of its network interface, SSH user, host key."""

    public: str
    private: str
    user: str
    host_key: str

    @property
    def ssh(self) -> str:
        return f"ssh {self.user}@{self.public}"


@dataclass(frozen=True)
class SiteSteps:
    """A site as the steps need it. `rails`: its first web node."""

    external_url: str
    nodes: tuple[str, ...]
    rails: str
    created: bool


@dataclass(frozen=True)
class StepsPlan:
    """The primary, and all sites by name."""

    primary: str
    sites: dict[str, SiteSteps]

    @property
    def created(self) -> dict[str, SiteSteps]:
        return {name: site for name, site in self.sites.items() if site.created}


def steps_plan(d: Deployment) -> StepsPlan:
    return StepsPlan(
        d.primary,
        {
            name: SiteSteps(
                site.external_url,
                tuple(site.nodes),
                next(iter(site.nodes_with("rails"))),
                site.aws is not None,
            )
            for name, site in d.sites.items()
        },
    )


YOURS = "your machine"
Step = dict[str, str]
"""{"site": its name, "what": a description, "run": a command for your machine}."""


def next_steps(plan: StepsPlan, places: Mapping[str, Place], *, key_made: bool) -> list[Step]:
    """In order: for your machine, the primary, each secondary; for created sites only.

    `places`: every node; `key_made`: whether this stack generated the login key.
    """
    steps = [{"site": YOURS, **step} for step in _yours(plan, places, key_made=key_made)]
    for site in sorted(plan.created, key=lambda name: name != plan.primary):
        site_steps = _of_primary(plan, places) if site == plan.primary else _of_secondary(plan, site, places)
        steps += [{"site": site, **step} for step in site_steps]
    return steps


def _yours(plan: StepsPlan, places: Mapping[str, Place], *, key_made: bool) -> Iterator[Step]:
    yield _step(
        "For the first setup. After a promotion (`sudo gitlab-ctl geo promote` on each node of the new "
        "primary, then `primary` in the configuration, then `pulumi up`), the new primary only has to allow "
        "the others' databases, and each secondary, including the former primary, needs its steps; the lines "
        "for gitlab.rb then replace the former ones",
        "",
    )
    if key_made:
        yield _step(
            "Add the generated key to your SSH agent",
            "pulumi stack output login_key --show-secrets | ssh-add -",
        )
    created = [places[node] for site in plan.created for node in plan.sites[site].nodes]
    known = "\n".join(f"{place.public} {place.host_key}" for place in created)
    yield _step("Add the nodes' host keys to known_hosts", f"cat >> ~/.ssh/known_hosts <<'END'\n{known}\nEND")


def _of_primary(plan: StepsPlan, places: Mapping[str, Place]) -> Iterator[Step]:
    site, node = plan.sites[plan.primary], places[plan.sites[plan.primary].rails]
    yield _step(
        f"Sign in as root at {site.external_url} with this password and add your license (Admin > Settings)",
        f"{node.ssh} sudo grep Password: /etc/gitlab/initial_root_password",
    )
    yield _step("Make it the primary site of Geo", f"{node.ssh} sudo gitlab-ctl set-geo-primary-node")
    yield _step(
        "Choose two passwords for the database and keep them: each command asks for one and prints its hash",
        f"{node.ssh} -t 'sudo gitlab-ctl pg-password-md5 gitlab;"
        " sudo gitlab-ctl pg-password-md5 gitlab_replicator'",
    )
    allowed = [
        node.private,
        *(places[site.rails].public for name, site in plan.sites.items() if name != plan.primary),
    ]
    yield _step(
        "Allow the databases of the secondary sites, with these passwords (the first line is temporary)",
        _prepend(node, ["gitlab_rails['auto_migrate'] = false", *_database(node, allowed)]),
    )
    # Migrations would connect to PostgreSQL at an address where it does not listen before its restart.
    yield _step(
        "Restart PostgreSQL with the new address before GitLab connects to it",
        f"{node.ssh} 'sudo gitlab-ctl reconfigure && sudo gitlab-ctl restart postgresql && "
        f"sudo sed -i /auto_migrate/d {_GITLAB_RB} && sudo gitlab-ctl reconfigure'",
    )
    yield _step(
        "For Git over SSH (port 22 is open to admin_cidrs only) set up the fast lookup of authorized keys: "
        "https://docs.gitlab.com/administration/operations/fast_ssh_key_lookup/. Do not change the nodes' "
        "SSH host keys: this program has pinned them",
        "",
    )


def _of_secondary(plan: StepsPlan, site: str, places: Mapping[str, Place]) -> Iterator[Step]:
    node, primary = places[plan.sites[site].rails], places[plan.sites[plan.primary].rails]
    if plan.primary not in plan.created:
        yield _step(
            f"In your firewall, allow {node.public} to connect to {plan.primary}'s GitLab, registry and port "
            f"{POSTGRESQL_PORT}, and add {node.public}/32 to postgresql['md5_auth_cidr_addresses'] there",
            f"{primary.ssh} sudo gitlab-ctl reconfigure",
        )
    yield _step(
        "Stop Puma and Sidekiq until the database is replicated",
        f"{node.ssh} 'sudo gitlab-ctl stop puma; sudo gitlab-ctl stop sidekiq'",
    )
    yield _step(
        f"Configure {plan.primary}'s database passwords on this site",
        _prepend(node, _database(node, [node.private])),
    )
    yield _step(
        f"Copy {plan.primary}'s secrets: without them, this site cannot decrypt values in the database",
        f"{primary.ssh} sudo cat {_SECRETS} | {node.ssh} 'sudo install -m 600 /dev/stdin {_SECRETS} && "
        "sudo gitlab-ctl reconfigure && sudo gitlab-ctl restart postgresql'",
    )
    yield _step(
        f"Trust the certificate of {plan.primary}'s PostgreSQL",
        f"{primary.ssh} sudo cat {_POSTGRESQL}/data/server.crt | {node.ssh} sudo install -D -o gitlab-psql "
        f"-g gitlab-psql -m 0400 -T /dev/stdin {_POSTGRESQL}/.postgresql/root.crt",
    )
    yield _step(
        "Replicate the database; the password is that of gitlab_replicator. This deletes the site's database",
        f"{node.ssh} -t sudo gitlab-ctl replicate-geo-database --slot-name={site.replace('-', '_')} "
        f"--host={primary.public} --sslmode=verify-ca",
    )
    yield _step(
        f"Under Admin > Geo > Sites of {plan.sites[plan.primary].external_url} add the site {site} with the "
        f"URL {plan.sites[site].external_url}, then restart this one",
        f"{node.ssh} sudo gitlab-ctl restart",
    )
    yield _step("Check Geo's health", f"{node.ssh} sudo gitlab-rake gitlab:geo:check")


def _step(what: str, run: str) -> Step:
    return {"what": what, "run": run}


def _database(node: Place, allowed: list[str]) -> list[str]:
    ranges = ", ".join(f"'{address}/32'" for address in allowed)
    return [
        f"postgresql['listen_address'] = '{node.private}'",
        f"postgresql['md5_auth_cidr_addresses'] = [{ranges}]",
        "postgresql['sql_user_password'] = 'HASH OF gitlab'",
        "postgresql['sql_replication_password'] = 'HASH OF gitlab_replicator'",
        "gitlab_rails['db_password'] = 'PASSWORD OF gitlab'",
    ]


def _prepend(node: Place, lines: list[str]) -> str:
    """At the top of gitlab.rb: the include of this program's settings must stay its last line."""
    text = "\n".join(lines)
    return f"{node.ssh} 'sudo sed -i -e \"1r /dev/stdin\" {_GITLAB_RB}' <<'END'\n{text}\nEND"
