"""What is left to a person after hosts were created, with this stack's values."""

from __future__ import annotations

from plan.next_steps import YOURS, Place, next_steps, steps_plan
from tests.configurations import CREATED, SHARED, changed, deployment

PLACES = {
    "london-1": Place("203.0.113.1", "10.110.0.4", "ubuntu", "ssh-ed25519 LONDON"),
    "tokyo-1": Place("203.0.113.2", "10.120.0.4", "ubuntu", "ssh-ed25519 TOKYO"),
}


def test_the_primary_comes_first_and_every_value_is_the_stacks_own() -> None:
    """Nothing is left to fill in but passwords and their hashes."""
    steps = next_steps(steps_plan(deployment(CREATED)), PLACES, key_made=True)
    assert list(dict.fromkeys(step["site"] for step in steps)) == [YOURS, "london", "tokyo"]
    text = {
        site: "\n".join(s["run"] for s in steps if s["site"] == site) for site in (YOURS, "london", "tokyo")
    }
    assert "pulumi stack output login_key --show-secrets | ssh-add -" in text[YOURS]
    assert "203.0.113.2 ssh-ed25519 TOKYO" in text[YOURS]
    assert "ssh ubuntu@203.0.113.1 sudo gitlab-ctl set-geo-primary-node" in text["london"]
    assert "postgresql['listen_address'] = '10.110.0.4'" in text["london"]
    assert "['10.110.0.4/32', '203.0.113.2/32']" in text["london"]
    assert "--slot-name=tokyo --host=203.0.113.1 --sslmode=verify-ca" in text["tokyo"]
    assert (
        "ssh ubuntu@203.0.113.1 sudo cat /etc/gitlab/gitlab-secrets.json | ssh ubuntu@203.0.113.2"
        in text["tokyo"]
    )


def test_a_key_of_ones_own_is_not_shown_again() -> None:
    """Who gave a key has it already."""
    steps = next_steps(steps_plan(deployment(CREATED)), PLACES, key_made=False)
    assert "login_key" not in str(steps)


def test_a_secondary_of_a_primary_that_exists_asks_for_its_firewall() -> None:
    """What this stack cannot open is said; the primary itself has no steps."""
    raw = changed(SHARED, lambda r: r["sites"].update(tokyo=CREATED["sites"]["tokyo"]))
    london = Place("10.10.0.11", "10.10.0.11", "ubuntu", "ssh-ed25519 LONDON")
    steps = next_steps(steps_plan(deployment(raw)), {**PLACES, "london-1": london}, key_made=True)
    assert list(dict.fromkeys(step["site"] for step in steps)) == [YOURS, "tokyo"]
    first = next(step for step in steps if step["site"] == "tokyo")
    assert "203.0.113.2/32 to postgresql['md5_auth_cidr_addresses']" in first["what"]
    assert "LONDON" not in str(steps)
