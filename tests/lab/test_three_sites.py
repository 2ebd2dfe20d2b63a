"""The layout `three-sites`: London's application, Sidekiq and registry are on nodes of their own."""

from __future__ import annotations

import ast
from pathlib import Path

from tests.lab.inside import inside

SCRIPT = """
    def sv(name):
        lines = lab.host(name).run("sv status /opt/gitlab/service/*").stdout.splitlines()
        return [line.split("/")[4].split(":")[0] for line in lines if line.startswith("run:")]
    def names(name):
        lines = lab.host("tokyo-1").run(f"getent ahostsv4 {name}").stdout.splitlines()
        return sorted({line.split()[0] for line in lines})
    london = [node.name for node in lab.site("london").nodes]
    key = "/var/opt/gitlab/gitlab-rails/etc/gitlab-registry.key"
    seen = {"services": {name: sv(name) for name in london}}
    seen["gitlab"] = names("gitlab.london.example.com")
    seen["registry"] = names("registry.london.example.com")
    seen["secrets"] = len({lab.host(name).read("/etc/gitlab/gitlab-secrets.json") for name in london})
    seen["keys"] = [name for name in london if lab.host(name).exists(key)]
    seen["pushed"] = lab.push("london", "group/app:1") == lab.pull("london", "group/app:1")
    by_hand = "https://gitlab.london.example.com/jwt/auth?service=container_registry&scope=repository:group/app:pull"
    tokens = []
    for name in ("london-web-1", "london-web-2"):
        address = lab.host(name).address
        curl = ["curl", "-sf", "-u", "root:lab-password", "--connect-to", f"::{address}:", by_hand]
        token = subprocess.run(curl, capture_output=True, text=True, check=True).stdout.split('"')[3]
        url = "https://registry.london.example.com/v2/group/app/manifests/1"
        ask = ["curl", "-s", "-o", "/dev/null", "-w", "%{http_code}", "-H", f"Authorization: Bearer {token}",
               "-H", "Accept: application/vnd.oci.image.manifest.v1+json", url]
        tokens.append(subprocess.run(ask, capture_output=True, text=True).stdout)
    seen["tokens"] = tokens
    registry = lab.host("london-registry")
    registry.run("gitlab-ctl reconfigure")
    seen["after"] = sv("london-registry"), lab.pull("london", "group/app:1") != ""
    registry.stop()
    seen["off"] = lab.http_status("https://registry.london.example.com/v2/")
    lab.reset()
    seen["reset"] = lab.http_status("https://registry.london.example.com/v2/")
    seen["empty"] = lab.tags("london", "group/app")
    lab.host("london-web-1").stop()
    seen["one web node left"] = lab.push("london", "group/app:2") == lab.pull("london", "group/app:2")
    registry.run("sv stop /opt/gitlab/service/nginx")
    seen["down"] = registry.services_down()
    print(repr(seen))
"""


def test_london_works_at_factory_state(tmp_path: Path) -> None:
    """Every token of either web node opens the registry's node, which has no GitLab; one web node may be off."""
    seen = ast.literal_eval(inside(tmp_path / "lab", "three-sites", SCRIPT))
    assert seen["services"] == {
        "london-web-1": ["nginx", "puma"],
        "london-web-2": ["nginx", "puma"],
        "london-sidekiq": ["sidekiq"],
        "london-registry": ["nginx", "registry"],
    }
    assert seen["gitlab"] == ["10.10.0.11", "10.10.0.12"]
    assert seen["registry"] == ["10.10.0.14"]
    assert seen["secrets"] == 1
    assert seen["keys"] == ["london-web-1", "london-web-2", "london-sidekiq"]
    assert seen["pushed"]
    assert seen["tokens"] == ["200", "200"]
    assert seen["after"] == (["nginx", "registry"], True)
    assert (seen["off"], seen["reset"], seen["empty"]) == (0, 401, {})
    assert seen["one web node left"]
    assert seen["down"] == ["nginx"]
