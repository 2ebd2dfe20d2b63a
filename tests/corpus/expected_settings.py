"""What each node's settings must be, from the configuration as it is written: stated apart from the program.

Keys and values are those of GitLab's documentation and of omnibus' cookbooks, in the plainest form.
"""

from __future__ import annotations

import json
from typing import Any

from tests.corpus.sites import ALL
from tests.corpus.storage import NEWER_AZURE
from tests.corpus.values import Raw, at_least

EVENTS = "/api/v4/container_registry_event/events"
UNKNOWN_REGIONS: dict[str, tuple[int, int]] = {
    **dict.fromkeys(("mx-central-1", "ap-east-2", "ap-southeast-5", "cn-north-3"), (999, 0)),
    "il-central-1": (16, 4),
    "ca-west-1": (17, 6),
}
"""From which version on the registry knows them; the others it has always known."""
HOST = "registry-database-1a2b3c4.c9akciq32.eu-west-2.rds.amazonaws.com"
"""The address of every database that is created."""
KEPT = ("cache", "delete", "maintenance", "redirect", "tag")


class Meant:
    """One node: `secrets` are what its secrets file holds, `theirs` what the administrator's gitlab.rb says."""

    def __init__(self, raw: Raw, site: str, node: str, secrets: Raw, theirs: Raw) -> None:
        self.raw, self.name, self.secrets, self.theirs = raw, site, secrets, theirs
        self.site = raw["sites"][site]
        self.node = self.site["nodes"][node]
        self.roles = self.node.get("roles", ALL)
        self.primary = raw["primary"] == site
        self.application = {"rails", "sidekiq"} & {*self.roles} != set()
        self.registry = "registry" in self.roles
        self.first = raw["sites"][raw["primary"]]
        # Distribution has the drivers and keys that GitLab's registry had at first.
        self.version = "16.0" if "external_registry" in self.site else raw["gitlab_version"]

    def settings(self) -> Raw:
        """Every table and call of gitlab.rb, with its value."""
        issuer = self.raw.get("issuer", "omnibus-gitlab-issuer")
        registry: Raw = json.loads(json.dumps(self.theirs))
        registry |= {"issuer": issuer, "internal_key": self.secrets["registry_key"]}
        registry |= {"internal_certificate": self.secrets["registry_certificate"]}
        rails: Raw = {"registry_issuer": issuer}
        found: Raw = {"registry": registry, "gitlab_rails": rails}
        self.found = found
        found |= self._created(rails)
        if self.registry:
            found["registry_external_url"] = plain(self.site["registry_url"])
            self._registry(registry, rails)
        else:
            found["registry_external_url"] = None
            registry["enable"] = False
            rails |= {"registry_enabled": True, "registry_api_url": own(self.site, "registry")}
            rails |= {"registry_host": host_and_port(self.site["registry_url"])[0]}
        port = host_and_port(self.site["registry_url"])[1]
        rails["registry_port"] = None if port in {80, 443} else port
        if self.application and self.primary:
            rails["registry_notification_secret"] = self.secrets["notification_secret"]
            rails["geo_registry_replication_enabled"] = False
        if self.application and not self.primary:
            rails["geo_registry_replication_enabled"] = self.raw.get("replication", True)
            rails["geo_registry_replication_primary_api_url"] = own(self.first, "registry")
        return found

    def _registry(self, registry: Raw, rails: Raw) -> None:
        registry |= {"enable": True, "token_realm": plain(self.site["external_url"])}
        if self.application:
            address = registry.get("registry_http_addr") or "127.0.0.1:5000"
            rails["registry_api_url"] = f"http://{'127.0.0.1' if address.startswith(':') else ''}{address}"
        if "registry_http_addr" in self.node:
            registry["registry_http_addr"] = self.node["registry_http_addr"]
            rails["registry_api_url"] = own(self.site, "registry")
            if self.node["registry_http_addr"].startswith(":"):
                self._nginx("registry")["enable"] = False
        registry["database"] = self._database()
        others = [e for e in registry.get("notifications", []) if e["name"] != "geo_event"]
        registry["notifications"] = others + ([self._geo_event()] if self.primary else [])
        driver = self.storage()
        if driver:
            theirs = {key: value for key, value in registry.get("storage", {}).items() if key in KEPT}
            registry |= {"http_secret": self.secrets["http_secret"], "storage": theirs | driver}

    def _geo_event(self) -> Raw:
        retries = {"maxretries": 40} if at_least(self.raw["gitlab_version"], 17, 1) else {"threshold": 5}
        return {
            "name": "geo_event",
            "url": own(self.first, "gitlab") + EVENTS,
            "timeout": "5s",
            "backoff": "1s",
            "ignore": {"mediatypes": ["application/octet-stream"], "actions": ["pull"]},
            **retries,
            "headers": {"Authorization": [self.secrets["notification_secret"]]},
        }

    def _database(self) -> Raw:
        its = self.site.get("metadata_database")
        if its is None:
            return {"enabled": False}
        if its == "managed":
            return {**(self.found["registry"].get("database") or {}), "enabled": True}
        if "create" in its:
            its = its["create"] | {"host": HOST, "password": self.secrets["database_password"]}
        return {
            "enabled": True,
            "host": its["host"],
            "port": its.get("port", 5432),
            "dbname": its.get("name", "registry"),
            "user": its.get("user", "registry"),
            "password": its["password"],
            "sslmode": its.get("sslmode", "require"),
            **{key: its[key] for key in ("sslrootcert",) if key in its},
        }

    def _nginx(self, whose: str) -> Raw:
        """The hash of gitlab.rb for the servers that nginx has for Rails or for the registry."""
        newer = at_least(self.raw["gitlab_version"], 19, 2)
        if whose == "rails":
            within, name = (self.found["gitlab_rails"], "nginx") if newer else (self.found, "nginx")
        else:
            within, name = (self.found["registry"], "nginx") if newer else (self.found, "registry_nginx")
        hash_of: Raw = within.setdefault(name, {})
        return hash_of

    def _created(self, rails: Raw) -> Raw:
        """A host that is made here has an empty gitlab.rb: its address, certificates, Geo role and name."""
        if "aws" not in self.site:
            return {}
        rails["geo_node_name"] = self.name
        found: Raw = {"external_url": plain(self.site["external_url"])}
        if "rails" not in self.roles:
            return found | {"nginx": {"enable": False}, "letsencrypt": {"enable": False}}
        found["roles"] = ["geo_primary_role" if self.primary else "geo_secondary_role"]
        tls = self.site["aws"].get("tls", {})
        if not found["external_url"].startswith("https:"):
            return found | {"letsencrypt": {"enable": False}}
        if "certificate" in tls:
            at = "/etc/gitlab/geo-registry/site"
            files = {"ssl_certificate": f"{at}.crt", "ssl_certificate_key": f"{at}.key"}
            found["letsencrypt"] = {"enable": False}
            self._nginx("rails").update(files)
            if self.registry:
                self._nginx("registry").update(files)
        else:
            who = tls.get("letsencrypt_email")
            found["letsencrypt"] = {"enable": True} | ({"contact_emails": [who]} if who else {})
        self._nginx("rails")["redirect_http_to_https"] = True
        return found

    def storage(self) -> Raw:
        """The driver under its name, and what goes with a registry that only reads; {} where storage is kept."""
        shared = self.raw["storage"]["mode"] == "shared"
        provided = self.raw["storage"] if shared else self.site["storage"]
        if provided == "keep":
            return {}
        name = next((k for k in ("gcs", "azure", "swift", "oss", "filesystem", "s3") if k in provided), None)
        place = provided[name] if name else provided
        storage = self._s3(place) if name in {"s3", None} else self._other(str(name), place)
        if self.site.get("read_only", shared and not self.primary):
            storage["maintenance"] = {"readonly": {"enabled": True}, "uploadpurging": {"enabled": False}}
            storage |= {"redirect": {"disable": True}} if name == "swift" else {}
        return storage

    def _s3(self, place: Raw) -> Raw:
        newest = at_least(self.version, 19)
        found = {"bucket": place["bucket"], "region": place["region"]}
        keys = self.site.get("s3_keys")
        if keys or "aws" not in self.site:
            found |= {"accesskey": self.secrets["s3_access_key"], "secretkey": self.secrets["s3_secret_key"]}
        if "root_directory" in place:
            found["rootdirectory"] = "/" + place["root_directory"].removeprefix("/")
        if "kms_key_id" in place:
            found |= {"encrypt": True, "keyid": place["kms_key_id"]}
        options = place.get("options", {})
        if "endpoint" not in place and "objectacl" not in options:
            found["objectownership"] = True
        if "endpoint" in place:
            found |= {"regionendpoint": place["endpoint"], "pathstyle": True}
            if newest and "checksum_algorithm" not in options:
                found["checksum_disabled"] = True
        elif place["region"] in UNKNOWN_REGIONS and not at_least(
            self.version, *UNKNOWN_REGIONS[place["region"]]
        ):
            scheme = "http" if options.get("secure") is False else "https"
            tail = ".cn" if place["region"].startswith("cn-") else ""
            found |= {
                "regionendpoint": f"{scheme}://s3.{place['region']}.amazonaws.com{tail}",
                "pathstyle": False,
            }
        return {"s3_v2" if newest else "s3": found | options}

    def _other(self, name: str, place: Raw) -> Raw:
        keys = dict(self.site.get("credentials", {}).get(name, {}))
        if name == "gcs":
            keys.pop("application_default", None)
            keys |= {"credentials": json.loads(keys["credentials"])} if "credentials" in keys else {}
        if name == "azure":
            if keys.get("credentials_type") == "shared_key":
                del keys["credentials_type"]
            name = "azure_v2" if self._newer_azure(place) else "azure"
        return {name: place | keys}

    def _newer_azure(self, place: Raw) -> bool:
        """Also where another site on the same storage has a role: all on one storage have one driver."""
        if "external_registry" in self.site:
            return False
        on_it = [*self.raw["sites"].values()] if self.raw["storage"]["mode"] == "shared" else [self.site]
        roles = {site["credentials"]["azure"].get("credentials_type", "shared_key") for site in on_it}
        newer = {"serviceurl", "debug_log_events", *NEWER_AZURE} & place.keys()
        return at_least(self.version, 19) or bool(newer) or roles != {"shared_key"}


def plain(url: str) -> str:
    return url.removesuffix("/")


def own(site: Raw, what: str) -> str:
    """A site's GitLab or registry by the name that no other site has."""
    keys = ("internal_url", "external_url") if what == "gitlab" else ("registry_internal_url", "registry_url")
    return plain(next(site[key] for key in keys if key in site))


def host_and_port(url: str) -> tuple[str, int]:
    scheme, _, rest = plain(url).partition("://")
    host, _, port = rest.partition(":")
    return host, int(port or (443 if scheme == "https" else 80))


def everything(value: Any) -> list[Any]:
    """Every single value in a value, at any depth."""
    if isinstance(value, dict):
        return [v for inner in value.values() for v in everything(inner)]
    return [v for inner in value for v in everything(inner)] if isinstance(value, list) else [value]
