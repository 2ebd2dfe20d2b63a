"""Keys that contradict each other: where one is wrong, what is told of the others may be nobody's mistake."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence

from omnibus.problems import Problem

Group = frozenset[str]

_GROUPS: tuple[Group, ...] = (
    frozenset({
        "gitlab_version", "primary", "replication", "mode", "storage", "s3_keys", "credentials", "read_only",
        "metadata_database", "external_registry", "nodes", "roles", "registry_http_addr",
    }),
    frozenset({
        "external_url", "registry_url", "internal_url", "registry_internal_url", "hosted_zone", "tls",
        "client_cidrs",
    }),
    frozenset({"host", "host_key", "ssh", "peer_cidrs"}),
    frozenset({"cidr", "vpc_id", "subnet_id"}),
    frozenset({"region", "availability_zone"}),
)  # fmt: skip


def keys(path: Sequence[int | str]) -> list[str]:
    """A place without the names that users give: `sites.nodes.storage` is a site of that name."""
    found, named = [], False
    for part in path:
        if not named:
            found.append(str(part))
        named = not named and part in {"sites", "nodes", "hosts", "tags"}
    return found


def groups(path: Sequence[int | str]) -> Iterator[Group]:
    """All that what stands at a place goes together with, the nearest to its end first."""
    yield from (group for key in reversed(keys(path)) for group in _GROUPS if key in group)


def untouched(problems: Iterable[Problem], spoilt: set[Group]) -> list[Problem]:
    """The problems that go together with nothing that is wrong for itself."""
    return [p for p in problems if next(groups(p.key.split(".")), None) not in spoilt]
