"""A configuration to be contradicted, and what a contradiction is."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from typing import Any, TypeAlias, TypeVar

from tests.corpus.sites import ALL
from tests.corpus.values import Raw, Tape

Reported = str | tuple[str, ...]
"""The key that must be reported, or those of which one must be."""
Make: TypeAlias = "Callable[[Whole], Reported]"
TABLE: dict[Make, set[str]] = {}
"""Each contradiction, with the codes of which one must be reported."""


def contradiction(*codes: str) -> Callable[[Make], Make]:
    """Puts two things that are valid alone into one configuration; one of `codes` is reported."""

    def entered(make: Make) -> Make:
        TABLE[make] = {*codes}
        return make

    return entered


T = TypeVar("T")


class Impossible(Exception):
    """The contradiction cannot be made in this configuration."""


class Whole:
    """A configuration and the questions that contradictions ask of it."""

    def __init__(self, raw: Raw, tape: Tape) -> None:
        self.raw, self.tape, self.sites = raw, tape, raw["sites"]
        self.shared = raw["storage"]["mode"] == "shared"

    @staticmethod
    def need(what: object) -> None:
        if not what:
            raise Impossible

    def one(self, found: Iterable[T]) -> T:
        """One of them, if there is any."""
        options = [*found]
        self.need(options)
        return self.tape.pick(options)

    def site(self, wanted: Callable[[Raw], object] = bool, among: Iterable[str] | None = None) -> str:
        """The name of a site that is as wanted."""
        names = self.sites if among is None else among
        return self.one(name for name in names if wanted(self.sites[name]))

    def secondary(self, wanted: Callable[[Raw], object] = bool) -> str:
        return self.site(wanted, [name for name in self.sites if name != self.raw["primary"]])

    def two(self, wanted: Callable[[Raw], object] = bool) -> tuple[str, str]:
        """The names of two sites, the earlier one first."""
        found = [name for name in self.sites if wanted(self.sites[name])]
        return next(iter(found), ""), self.one(found[1:])

    def node(self, site: str, wanted: Callable[[Raw], object] = lambda _: True) -> str:
        """The name of a node of the site that is as wanted."""
        nodes: dict[str, Raw] = self.sites[site]["nodes"]
        return self.one(name for name, node in nodes.items() if wanted(node))

    def places(self) -> Iterator[tuple[str, str, Raw, list[str]]]:
        """The key, driver and mapping of each storage that is named, and its sites."""
        groups = [("storage", self.raw["storage"], [*self.sites])]
        if not self.shared:
            groups = [
                (f"sites.{n}.storage", s["storage"], [n])
                for n, s in self.sites.items()
                if s["storage"] != "keep"
            ]
        for key, provided, sites in groups:
            name = next(
                (k for k in ("gcs", "azure", "swift", "oss", "filesystem", "s3") if k in provided), None
            )
            yield (f"{key}.{name}", name, provided[name], sites) if name else (key, "s3", provided, sites)

    def place(self, *drivers: str) -> tuple[str, Raw, list[str]]:
        """The key, mapping and sites of a storage with one of these drivers."""
        return self.one((key, its, sites) for key, name, its, sites in self.places() if name in drivers)


def roles(node: Raw) -> Any:
    return node.get("roles", ALL)


def own(site: Raw, what: str) -> str:
    internal, url = {
        "registry": ("registry_internal_url", "registry_url"),
        "gitlab": ("internal_url", "external_url"),
    }[what]
    return str(site.get(internal, site[url]))


def external(site: Raw) -> bool:
    return "external_registry" in site


def created(site: Raw) -> bool:
    return "aws" in site


def respelled(tape: Tape, url: str) -> str:
    """The same URL, written otherwise."""
    plain = url.removesuffix("/")
    port = "" if plain.count(":") > 1 else f":{443 if plain.startswith('https') else 80}"
    return tape.pick((url, f"{plain}/", f"{plain}{port}", plain.replace("example", "EXAMPLE")))
