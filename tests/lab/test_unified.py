"""The layout `unified`: both sites have the same URLs, and names of their own besides."""

from __future__ import annotations

import ast
from pathlib import Path

from tests.lab.inside import inside

SCRIPT = """
    london, tokyo = lab.host("london-1"), lab.host("tokyo-1")
    def asked(host, url):
        "The answer that a host gets, and whose nginx wrote it into its log."
        before = {each.name: len(each.read("/var/log/gitlab/nginx/access.log")) for each in (london, tokyo)}
        curl = ["curl", "-s", "-o", "/dev/null", "-w", "%{http_code}", url]
        code = host.run(curl).stdout if host else str(lab.http_status(url))
        def whose():
            return [each.name for each in (london, tokyo)
                    if len(each.read("/var/log/gitlab/nginx/access.log")) > before[each.name]]
        lab.wait(whose, what="a line in a log")
        return code, *whose()
    common = ["https://gitlab.example.com/-/readiness", "https://registry.example.com:5050/v2/"]
    seen = {host.name: [asked(host, url) for url in common] for host in (london, tokyo)}
    seen["workstation"] = [asked(None, url) for url in common]
    own = ["https://gitlab.tokyo.example.com/-/readiness", "https://registry.tokyo.example.com:5050/v2/"]
    seen["own"] = [asked(host, url) for host in (london, None) for url in own]
    seen["urls"] = [(site.external_url, site.registry_url, site.internal_url, site.registry_internal_url)
                    for site in lab.layout.sites]
    seen["image"] = lab.push("london", "group/app:1") == lab.pull("registry.example.com:5050", "group/app:1")
    try:
        lab.push("tokyo", "group/app:1")
    except RuntimeError as error:
        seen["london's token at tokyo"] = "unauthorized" in str(error)
    token = "https://gitlab.example.com/jwt/auth?service=container_registry&scope=repository:group/app:pull"
    ask = f"curl -sf -u root:lab-password '{token}' | cut -d'\\"' -f4"
    manifest = "https://registry.tokyo.example.com:5050/v2/group/app/manifests/1"
    status = tokyo.run(f'curl -s -o /dev/null -w "%{{http_code}}" -H "Authorization: Bearer $({ask})" {manifest}')
    seen["tokyo's token at tokyo"] = status.stdout
    lab.reset()
    seen["reset"] = asked(tokyo, common[0])
    print(repr(seen))
"""


def test_each_site_s_hosts_find_their_own_under_the_common_names(tmp_path: Path) -> None:
    """The workstation finds london; under a site's own names everybody finds that site, with a right certificate."""
    seen = ast.literal_eval(inside(tmp_path / "lab", "unified", SCRIPT))
    assert seen["london-1"] == seen["workstation"] == [("200", "london-1"), ("401", "london-1")]
    assert seen["tokyo-1"] == [("200", "tokyo-1"), ("401", "tokyo-1")]
    assert seen["own"] == [("200", "tokyo-1"), ("401", "tokyo-1")] * 2
    common = ("https://gitlab.example.com", "https://registry.example.com:5050")
    assert seen["urls"] == [
        (*common, f"https://gitlab.{place}.example.com", f"https://registry.{place}.example.com:5050")
        for place in ("london", "tokyo")
    ]
    assert seen["image"]
    assert seen["london's token at tokyo"]
    assert seen["tokyo's token at tokyo"] == "404"
    assert seen["reset"] == ("200", "tokyo-1")
