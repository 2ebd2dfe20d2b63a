"""Run in a lab of its own: both sites behind one GitLab URL and one registry URL on port 5050."""

from __future__ import annotations

import re
from typing import Any

import yaml

from lab.api import Lab
from tests.e2e.stack import Stack

CONFIG = "/var/opt/gitlab/registry/config.yml"
RAILS = "/var/opt/gitlab/gitlab-rails/etc/gitlab.yml"


def shared_urls(config: dict[str, Any]) -> None:
    for site in config["sites"].values():
        site |= {
            "external_url": "https://gitlab.example.com",
            "registry_url": "https://registry.example.com:5050",
        }


def own_urls(config: dict[str, Any]) -> None:
    for name, site in config["sites"].items():
        site["internal_url"] = f"https://gitlab.{name}.example.com"
        site["registry_internal_url"] = f"https://registry.{name}.example.com:5050"


def main() -> None:
    """Without URLs of their own it is refused; with them each site serves people's name, and copies by London's own."""
    lab = Lab.current()
    stack = Stack(lab, "replicated")
    stack.configure(shared_urls)
    said = stack.preview(check=False)
    assert re.search(r"sites\.tokyo\.registry_url: .* \[registry-url-not-unique\]", said)
    assert re.search(r"sites\.tokyo\.external_url: .* \[gitlab-url-not-unique\]", said)
    stack.configure(own_urls)
    stack.up()
    config = yaml.safe_load(lab.host("london-1").read(CONFIG))
    assert config["auth"]["token"]["realm"] == "https://gitlab.example.com/jwt/auth"
    events = config["notifications"]["endpoints"][0]["url"]
    assert events == "https://gitlab.london.example.com/api/v4/container_registry_event/events"
    rails = yaml.safe_load(lab.host("tokyo-1").read(RAILS))["production"]
    assert (
        rails["geo"]["registry_replication"]["primary_api_url"] == "https://registry.london.example.com:5050"
    )
    assert (rails["registry"]["host"], rails["registry"]["port"]) == ("registry.example.com", 5050)

    # The workstation is near London: people's name leads it there.
    digest = lab.push("registry.example.com:5050", "group/app:1")
    own = "registry.tokyo.example.com:5050"
    took = lab.wait(lambda: lab.tags(own, "group/app").get("1") == digest, 60, "the image at tokyo")
    print(f"push by the common name to copy at tokyo: {took:.1f} s")
    assert lab.tags("registry.london.example.com:5050", "group/app") == {"1": digest}
    stack.destroy()


if __name__ == "__main__":
    main()
