"""The layout `private-ca`: each site's certificates are of an authority that only its own hosts know."""

from __future__ import annotations

import ast
from pathlib import Path

from tests.lab.inside import inside

SCRIPT = """
    import json
    london, tokyo = lab.host("london-1"), lab.host("tokyo-1")
    LONDON, TOKYO = "https://registry.london.example.com/v2/", "https://registry.tokyo.example.com/v2/"
    ASK = "require 'net/http'; print Net::HTTP.get_response(URI(ARGV[0])).code"

    def ruby(host, url):
        done = host.run(["/opt/gitlab/embedded/bin/ruby", "-e", ASK, url], check=False)
        return done.stdout or ("certificate verify failed" in done.stderr)
    def curl(host, program, url):
        return host.run([program, "-s", "-o", "/dev/null", url], check=False).returncode
    def push_and_event(ref, seconds=30):
        lab.push("london", ref)
        def events():
            data = json.loads(london.run("cat /var/opt/gitlab/postgresql/gitlab.json").stdout)
            return len(data["geo_events"])
        before = events()
        lab.push("london", ref, seed=ref.encode())
        try:
            lab.wait(lambda: events() > before, seconds)
        except TimeoutError:
            return False
        return True

    seen = {"authorities": len({lab.site_ca("london"), lab.site_ca("tokyo")})}
    seen["own"] = ruby(london, LONDON), ruby(tokyo, TOKYO), curl(tokyo, "/opt/gitlab/embedded/bin/curl", TOKYO)
    seen["other"] = ruby(london, TOKYO), ruby(tokyo, LONDON), curl(tokyo, "/opt/gitlab/embedded/bin/curl", LONDON)
    seen["the system"] = curl(tokyo, "/usr/bin/curl", TOKYO), curl(tokyo, "/usr/bin/curl", LONDON)
    seen["S3"] = [ruby(host, "https://s3.eu-west-1.amazonaws.com/") for host in (london, tokyo)]
    seen["images"] = [lab.push(site, "group/app:1") == lab.pull(site, "group/app:1") for site in ("london", "tokyo")]

    # The registry, which is Go, trusts its own GitLab by the same directory.
    endpoint = "https://gitlab.london.example.com/api/v4/container_registry_event/events"
    headers = "{ 'Authorization' => ['secret'] }"
    events = f"registry['notifications'] = [{{ 'name' => 'geo_event', 'url' => '{endpoint}', 'headers' => {headers} }}]"
    london.run("cat >>/etc/gitlab/gitlab.rb && gitlab-ctl reconfigure", input=events)
    london.wait_ready()
    seen["event"] = push_and_event("group/app:2")
    london.run("mv /etc/gitlab/trusted-certs/london-ca.crt /root && gitlab-ctl reconfigure && gitlab-ctl restart registry")
    london.wait_ready()
    seen["no event"] = push_and_event("group/app:3", 3)
    london.run("mv /root/london-ca.crt /etc/gitlab/trusted-certs && gitlab-ctl reconfigure && gitlab-ctl restart registry")
    london.wait_ready()
    seen["event again"] = push_and_event("group/app:4")

    tokyo.run("cat >/etc/gitlab/trusted-certs/london.crt && gitlab-ctl reconfigure", input=lab.site_ca("london"))
    seen["trusted"] = ruby(tokyo, LONDON), curl(tokyo, "/opt/gitlab/embedded/bin/curl", LONDON)
    seen["only there"] = ruby(london, TOKYO), curl(tokyo, "/usr/bin/curl", LONDON)
    print(repr(seen))
"""


def test_the_other_site_is_not_trusted_until_somebody_says_so(tmp_path: Path) -> None:
    """GitLab's own Ruby, curl and registry trust its trusted-certs and the world's; the workstation all of it."""
    seen = ast.literal_eval(inside(tmp_path / "lab", "private-ca", SCRIPT))
    assert seen["authorities"] == 2
    assert seen["own"] == ("401", "401", 0)
    assert seen["other"] == (True, True, 60)
    assert seen["the system"] == (60, 60)
    assert seen["S3"] == ["403", "403"]
    assert seen["images"] == [True, True]
    assert (seen["event"], seen["no event"], seen["event again"]) == (True, False, True)
    assert seen["trusted"] == ("401", 0)
    assert seen["only there"] == (True, 60)
