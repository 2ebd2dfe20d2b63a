"""What GitLab's nodes say of a registry that a person gives its lines: recorded only, until they are in."""

from __future__ import annotations

from typing import Any

import pytest

from tests.ruby import Program
from tests.unit.test_node_program import RSA

OWN = "own registry accepts a token signed with the key"
PRIMARYS = "london's registry accepts a pull-only token signed by this node"
YES = [404, '{"errors":[{"code":"NAME_UNKNOWN"}]}']

# All that the proof asks is answered here: to a token `right`, to a forged one `wrong`; time goes by sleeping.
PROVE = """->(order, right, wrong) {
  now = 0.0
  Omnibus.define_singleton_method(:now) { now }
  Http.define_singleton_method(:sleep) { |seconds| now += seconds }
  registry = Object.new
  registry.define_singleton_method(:url) { 'https://registry.london.example.com' }
  registry.define_singleton_method(:tags) { |token| token.is_a?(ForgedToken) ? wrong : right }
  registry.define_singleton_method(:push) { |_, _| [403, ''] }
  Registry.define_singleton_method(:new) { |_| registry }
  proof = Verification.new(order)
  proof.define_singleton_method(:events) { |_, secret| [secret == 'the-right-secret' ? 200 : 401] }
  begin
    proof.run
  rescue Failure => e
    e.message
  ensure
    Registry.singleton_class.remove_method(:new)
    Http.singleton_class.remove_method(:sleep)
    Omnibus.define_singleton_method(:now) { Process.clock_gettime(Process::CLOCK_MONOTONIC) }
  end
}"""


def order(kind: str, *, primary: bool = True, **more: Any) -> dict[str, Any]:
    """Of a Rails node, whose site's registry is of this kind, or whose primary's is."""
    return {
        "node": "london-1" if primary else "tokyo-1",
        "site": "london" if primary else "tokyo",
        "kind": "primary" if primary else "secondary",
        "roles": ["rails", "sidekiq"],
        "issuer": "omnibus-gitlab-issuer",
        "read_only": False,
        "registry_url": "https://registry.london.example.com",
        "registry_kind": kind if primary else "omnibus",
        "primary": {
            "site": "london",
            "external_url": "https://gitlab.london.example.com",
            "events_url": "https://gitlab.london.example.com/api/v4/container_registry_event/events",
            "registry_url": "https://registry.london.example.com",
            "registry_kind": kind,
        },
        "secrets": {
            "registry_key": RSA,
            "registry_certificate": "",
            "notification_secret": "the-right-secret",
        },
        "reconfigure_seconds": 1800,
        **more,
    }


@pytest.mark.parametrize(
    ("right", "wrong", "says"),
    [
        ([401, ""], [401, ""], "answers 401;"),
        ([0, "refused"], [0, "refused"], "does not answer (refused);"),
        ([404, "nothing here"], [404, "nothing here"], "answers 404;"),
        (YES, YES, "answers 404 to a valid token, and 404 to a forged one;"),
    ],
)
def test_before_the_lines_are_in_that_is_recorded_and_no_failure(
    ruby: Program, right: list[Any], wrong: list[Any], says: str
) -> None:
    """The node's own settings are proven anyway; what is to be done is reported."""
    found = ruby.call(PROVE, order("manual", read_only=True), right, wrong)
    assert list(found) == [
        OWN,
        "notification endpoint accepts the secret",
        "notification endpoint refuses a wrong one",
    ]
    assert found[OWN].startswith(
        f"not yet: https://registry.london.example.com {says} add the lines from the output registry_config"
    )
    assert "pulumi config set proof" in found[OWN]


def test_once_the_lines_are_in_it_is_proven_as_any_other(ruby: Program) -> None:
    """And then a forged token that is taken is a failure."""
    found = ruby.call(PROVE, order("manual"), YES, [401, ""])
    assert (found[OWN], found["london's registry refuses a forged token"]) == ("yes", "401")


@pytest.mark.parametrize("kind", ["omnibus", "external"])
def test_a_registry_that_is_given_its_lines_here_must_have_them(ruby: Program, kind: str) -> None:
    """The same answers that are recorded of another's."""
    assert "does not accept its own token" in ruby.call(PROVE, order(kind), [401, ""], [401, ""])
    assert "accepts a forged token" in ruby.call(PROVE, order(kind), YES, YES)
    found = ruby.call(PROVE, order(kind), YES, [401, ""])
    assert found[OWN] == "yes"
    assert "notification endpoint accepts the secret" not in found, "the registry's host asks that"


def test_a_secondary_waits_for_no_lines_at_the_primary(ruby: Program) -> None:
    """What it can see of its own is proven; the primary's registry, once it has them, too."""
    reported = order("manual", primary=False)
    reported["registry_kind"] = "manual"
    assert ruby.call(PROVE, reported, [401, ""], [401, ""])[PRIMARYS].startswith("not yet: ")
    found = ruby.call(PROVE, reported, YES, [401, ""])
    assert (found[PRIMARYS], found["london's registry refuses a push with it"]) == ("yes", "403")
