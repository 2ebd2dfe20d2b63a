"""Run in a lab of its own: each site's certificates are of an authority that the other site does not know."""

from __future__ import annotations

from lab.api import Lab
from tests.e2e.stack import OURS, Stack

TRUSTED = "/etc/gitlab/trusted-certs/geo-registry-{}.crt"


def main() -> None:
    """Without the other's certificate verification fails and says TLS; with both, images are copied; destroy removes them."""
    lab = Lab.current()
    stack = Stack(lab, "replicated")
    tokyo = lab.host("tokyo-1")
    said = stack.fails()
    assert (
        "tokyo-1 (site tokyo): verification failed: london's registry cannot be reached from this node"
        in said
    )
    assert "certificate verify failed" in said and "add its CA to trusted_certificates" in said
    assert "the settings are in effect on this node, and nothing is rolled back" in said
    assert tokyo.exists(OURS)

    both = "".join(lab.site_ca(site) for site in ("london", "tokyo"))
    stack.configure(lambda config: config.update(trusted_certificates=both))
    stack.up()
    assert (
        "london's registry accepts a pull-only token signed by this node"
        in stack.outputs()["proof"]["tokyo"]["tokyo-1"]
    )
    for name in ("london-1", "tokyo-1"):
        host = lab.host(name)
        assert "".join(host.read(TRUSTED.format(n)).decode() for n in (1, 2)) == both
        assert host.run(f"stat -c %a {TRUSTED.format(1)}").stdout.strip() == "644"
    digest = lab.push("london", "group/app:1")
    lab.wait(lambda: lab.tags("tokyo", "group/app").get("1") == digest, 60, "the image at tokyo")
    sessions = tokyo.ssh_sessions()
    stack.up()
    assert tokyo.ssh_sessions() == sessions

    stack.configure(lambda config: config.update(trusted_certificates=lab.site_ca("london")))
    stack.up()
    assert not tokyo.exists(TRUSTED.format(2)), "one certificate less"
    stack.destroy()
    assert not tokyo.exists(TRUSTED.format(1))


if __name__ == "__main__":
    main()
