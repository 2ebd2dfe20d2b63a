"""What a person does after a created site's first `pulumi up`: what wants a licence, a password, a decision.

The commands are those of GitLab's page "Set up Geo for two single-node sites", with this stack's values.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass

from omnibus.model import Deployment

_SECRETS = "/etc/gitlab/gitlab-secrets.json"
_GITLAB_RB = "/etc/gitlab/gitlab.rb"
_POSTGRESQL = "/var/opt/gitlab/postgresql"


@dataclass(frozen=True)
class Place:
    """A node: its public address, the one its network interface has, who logs in, its host key."""

    public: str
    private: str
    user: str
    host_key: str

    @property
    def ssh(self) -> str:
        return f"ssh {self.user}@{self.public}"


YOURS = "your machine"
Step = dict[str, str]
"""{"site": which it is about, "what": in words, "run": on your own machine}."""


def next_steps(d: Deployment, places: Mapping[str, Place], *, key_made: bool) -> list[Step]:
    """In order: your own machine's, the primary's, each secondary's; of created sites only.

    `places` is of every node; `key_made`: the login key is this stack's own.
    """
    steps = [{"site": YOURS, **step} for step in _yours(d, places, key_made=key_made)]
    for site in sorted(d.created, key=lambda name: name != d.primary):
        own = _of_primary(d, places) if site == d.primary else _of_secondary(d, site, places)
        steps += [{"site": site, **step} for step in own]
    return steps


def _yours(d: Deployment, places: Mapping[str, Place], *, key_made: bool) -> Iterator[Step]:
    yield _step(
        "For the first set-up. After a promotion (`sudo gitlab-ctl geo promote` on each node of the new "
        "primary, then `primary` in the configuration, then `pulumi up`) the new primary only has to let the "
        "others' databases in, and each secondary, the former primary too, needs its own steps; the lines "
        "for gitlab.rb then take the place of the former ones",
        "",
    )
    if key_made:
        yield _step(
            "Have your SSH agent know the servers' key",
            "pulumi stack output login_key --show-secrets | ssh-add -",
        )
    created = [places[node] for site in d.created for node in d.sites[site].nodes]
    known = "\n".join(f"{place.public} {place.host_key}" for place in created)
    yield _step("Know the servers by their host keys", f"cat >> ~/.ssh/known_hosts <<'END'\n{known}\nEND")


def _of_primary(d: Deployment, places: Mapping[str, Place]) -> Iterator[Step]:
    site, here = d.sites[d.primary], places[_first(d, d.primary)]
    yield _step(
        f"Sign in as root at {site.external_url} with this password, add your licence (Admin > Settings)",
        f"{here.ssh} sudo grep Password: /etc/gitlab/initial_root_password",
    )
    yield _step("Make it Geo's primary site", f"{here.ssh} sudo gitlab-ctl set-geo-primary-node")
    yield _step(
        "Choose two passwords for the database, and keep them: each command asks for one and prints its hash",
        f"{here.ssh} -t 'sudo gitlab-ctl pg-password-md5 gitlab;"
        " sudo gitlab-ctl pg-password-md5 gitlab_replicator'",
    )
    allowed = [here.private, *(places[_first(d, name)].public for name in d.secondaries)]
    yield _step(
        "Let the secondary sites' databases in, with those passwords (the first line goes again below)",
        _prepend(here, ["gitlab_rails['auto_migrate'] = false", *_database(here, allowed)]),
    )
    # Migrations would ask for PostgreSQL where it does not listen before it is restarted.
    yield _step(
        "Have PostgreSQL listen there, before GitLab looks for it there",
        f"{here.ssh} 'sudo gitlab-ctl reconfigure && sudo gitlab-ctl restart postgresql && "
        f"sudo sed -i /auto_migrate/d {_GITLAB_RB} && sudo gitlab-ctl reconfigure'",
    )
    yield _step(
        "For Git over SSH (port 22 is open to admin_cidrs only) set up the fast lookup of people's keys, see "
        "https://docs.gitlab.com/administration/operations/fast_ssh_key_lookup/; the servers' SSH host keys "
        "stay as they are: this program has pinned them",
        "",
    )


def _of_secondary(d: Deployment, site: str, places: Mapping[str, Place]) -> Iterator[Step]:
    here, primary = places[_first(d, site)], places[_first(d, d.primary)]
    if d.primary not in d.created:
        yield _step(
            f"Let {here.public} reach {d.primary}'s GitLab, registry and port 5432 in your own firewall, "
            f"and add {here.public}/32 to postgresql['md5_auth_cidr_addresses'] there",
            f"{primary.ssh} sudo gitlab-ctl reconfigure",
        )
    yield _step(
        "Have nothing run until the database is there",
        f"{here.ssh} 'sudo gitlab-ctl stop puma; sudo gitlab-ctl stop sidekiq'",
    )
    yield _step(
        f"Use {d.primary}'s database passwords here",
        _prepend(here, _database(here, [here.private])),
    )
    yield _step(
        f"Carry {d.primary}'s secrets over: without them this site cannot read what the database says",
        f"{primary.ssh} sudo cat {_SECRETS} | {here.ssh} 'sudo install -m 600 /dev/stdin {_SECRETS} && "
        "sudo gitlab-ctl reconfigure && sudo gitlab-ctl restart postgresql'",
    )
    yield _step(
        f"Know {d.primary}'s PostgreSQL by its certificate",
        f"{primary.ssh} sudo cat {_POSTGRESQL}/data/server.crt | {here.ssh} sudo install -D -o gitlab-psql "
        f"-g gitlab-psql -m 0400 -T /dev/stdin {_POSTGRESQL}/.postgresql/root.crt",
    )
    yield _step(
        "Replicate the database; it asks for the password of gitlab_replicator and empties this site's own",
        f"{here.ssh} -t sudo gitlab-ctl replicate-geo-database --slot-name={site.replace('-', '_')} "
        f"--host={primary.public} --sslmode=verify-ca",
    )
    yield _step(
        f"Under Admin > Geo > Sites of {d.sites[d.primary].external_url} add the site {site} with the URL "
        f"{d.sites[site].external_url}, then restart this one",
        f"{here.ssh} sudo gitlab-ctl restart",
    )
    yield _step("See whether all is well", f"{here.ssh} sudo gitlab-rake gitlab:geo:check")


def _step(what: str, run: str) -> Step:
    return {"what": what, "run": run}


def _first(d: Deployment, site: str) -> str:
    return next(iter(d.sites[site].nodes_with("rails")))


def _database(here: Place, allowed: list[str]) -> list[str]:
    ranges = ", ".join(f"'{address}/32'" for address in allowed)
    return [
        f"postgresql['listen_address'] = '{here.private}'",
        f"postgresql['md5_auth_cidr_addresses'] = [{ranges}]",
        "postgresql['sql_user_password'] = 'HASH OF gitlab'",
        "postgresql['sql_replication_password'] = 'HASH OF gitlab_replicator'",
        "gitlab_rails['db_password'] = 'PASSWORD OF gitlab'",
    ]


def _prepend(here: Place, lines: list[str]) -> str:
    """At the top of gitlab.rb: its last line, the include of this program's settings, stays the last."""
    text = "\n".join(lines)
    return f"{here.ssh} 'sudo sed -i -e \"1r /dev/stdin\" {_GITLAB_RB}' <<'END'\n{text}\nEND"
