"""Hosts that are created: what is declared, under whom, by which provider, and who may reach it."""

from __future__ import annotations

import json
from typing import Any

import pulumi
import pytest

from tests.components.recording import INSTANCES, Registration, declared, record
from tests.components.test_program import order
from tests.configurations import CREATED, SHARED, certificate, changed


@pytest.fixture(scope="module")
def created() -> dict[str, Registration]:
    return record(CREATED)


def rules(recorded: dict[str, Registration], site: str) -> dict[str, Registration]:
    return {n: r for n, r in recorded.items() if r.parent == site and r.type.endswith("Rule")}


def test_each_site_has_its_own_network_provider_and_servers(created: dict[str, Registration]) -> None:
    """Network and site, site → firewall, instance; all of it by the provider of the site's region."""
    assert created["tokyo-aws"].plain("region") == "ap-northeast-1"
    parents = {
        "AwsSite tokyo": "registry",
        "AwsNetwork tokyo": "registry",
        "AwsFirewall tokyo": "tokyo",
        "AwsInstance tokyo-1": "tokyo",
        "tokyo-1-instance": "tokyo-1",
        "tokyo-vpc": "tokyo",
        "tokyo-1-address": "tokyo",
    }
    for name, parent in parents.items():
        assert created[name].parent == parent
        if created[name].type.startswith("aws:"):
            assert created[name].provider == "tokyo-aws"
    tags = json.loads(created["tokyo-aws"].plain("defaultTags"))["tags"]
    assert tags["gitlab-geo-site"] == "tokyo"
    assert tags["gitlab-geo-role"] == "secondary"
    assert tags["pulumi-stack"] == "dev"


def test_a_server_is_as_configured_and_never_replaced_by_accident(created: dict[str, Registration]) -> None:
    """Its disk is encrypted, its metadata need a token, and neither a newer image nor a destroy takes it."""
    server = created["tokyo-1-instance"]
    assert server.plain("instanceType") == "m7g.xlarge"
    assert server.plain("ami") == "ami-of-arm64"
    disk = server.plain("rootBlockDevice")
    assert (disk["volumeType"], disk["volumeSize"], disk["encrypted"]) == ("gp3", 300, True)
    assert server.plain("metadataOptions")["httpTokens"] == "required"
    assert set(server.request.ignoreChanges) == {
        "ami", "availabilityZone", "keyName", "rootBlockDevice.kmsKeyId", "rootBlockDevice.tags",
        "rootBlockDevice.tagsAll", "subnetId", "userData",
    }  # fmt: skip
    assert "cidrBlock" in created["tokyo-vpc"].request.ignoreChanges
    assert server.plain("disableApiTermination") is True
    assert server.request.protect
    assert created["london-1-instance"].plain("ami") == "ami-of-x86_64"
    open_to_it = changed(CREATED, lambda r: r["sites"]["tokyo"]["aws"].update(termination_protection=False))
    unprotected = record(open_to_it)
    # Without these the instance would exist but be unreachable; the other site's stay protected.
    needed = ("instance", "host-key", "address")
    for name in (*(f"tokyo-1-{part}" for part in needed), "tokyo-vpc", "tokyo-subnet", "tokyo-nodes"):
        assert created[name].request.protect, name
        assert not unprotected[name].request.protect, name
    assert created["key"].request.protect
    assert unprotected["london-1-instance"].request.protect
    assert not record(SHARED)["key"].request.protect


def test_user_data_hold_the_host_key_and_no_other_secret(created: dict[str, Registration]) -> None:
    """The key that the first connection is verified with; GitLab's own first boot, which would guess, is left out."""
    text = created["tokyo-1-instance"].plain("userData")
    assert text.startswith("#cloud-config\n")
    reported = json.loads(text.removeprefix("#cloud-config\n"))
    assert reported["ssh_keys"] == {
        "ed25519_private": "generated-tokyo-1-host-key",
        "ed25519_public": "ssh-ed25519 tokyo-1-host-key",
    }
    assert text.count("generated-") == 1
    assert reported["bootcmd"] == [["rm", "-f", "/var/lib/cloud/scripts/per-instance/gitlab"]]
    connection = created["tokyo-1-settings"].plain("connection")
    assert connection["hostKey"] == reported["ssh_keys"]["ed25519_public"]


def test_nothing_is_open_that_the_configuration_does_not_say(created: dict[str, Registration]) -> None:
    """SSH for administrators, the web for users, the peers' addresses for Geo, and what it may reach."""
    found = {
        name: (r.plain("fromPort"), r.plain("toPort"), r.plain("cidrIpv4"))
        for name, r in rules(created, "london").items()
    }
    assert all(low == high for low, high, _ in found.values())
    inward = {(p, c) for n, (p, _, c) in found.items() if "-ingress-" in n}
    outward = {(p, c) for n, (p, _, c) in found.items() if "-egress-" in n}
    own, peer = "address-of-london-1-address/32", "address-of-tokyo-1-address/32"
    assert inward == {
        (22, "198.51.100.7/32"), (80, "0.0.0.0/0"), (443, "0.0.0.0/0"), (443, own), (443, peer), (5432, peer),
    }  # fmt: skip
    assert outward == {(80, "0.0.0.0/0"), (443, "0.0.0.0/0"), (5050, peer)}
    assert ("5432-from" in "".join(rules(created, "tokyo"))) is False
    closed = created["london-default-closed"]
    assert (closed.plain("ingress"), closed.plain("egress")) == ([], [])


def test_the_registry_gets_its_storage_from_the_server(created: dict[str, Registration]) -> None:
    """No key anywhere: the role of a secondary can only read, that of the primary may write."""
    assert not any(r.type.endswith("AccessKey") for r in created.values())
    for site, write in (("london", True), ("tokyo", False)):
        policy = created[f"{site}-policy-acme-registry"].plain("policy")
        assert ("s3:PutObject" in policy) is write
        reported = order(created[f"{site}-1-settings"])
        assert reported["storage"]["access_key"] is None
        assert "accesskey" not in reported["settings"]
        assert not any("s3" in name for name in reported["secrets"])
        assert created[f"{site}-1-instance"].plain("iamInstanceProfile") == f"{site}-instances-profile"


def test_the_work_on_a_server_waits_for_it_and_goes_with_it(created: dict[str, Registration]) -> None:
    """Settings come after address, rules and names; a server that is destroyed is not tidied up first."""
    command = created["london-1-settings"]
    assert {"london-1-address-of-instance", "london-route-outside"} <= command.depends_on
    assert "london-name-gitlab.london.example.com" in command.depends_on
    assert set(rules(created, "london")) <= command.depends_on
    assert command.request.deletedWith.endswith("london-1-instance")
    reported = order(command)
    assert (reported["created"], reported["triggers"]["instance"]) == (True, "id-of-london-1-instance")
    settings = reported["settings"]
    assert "external_url 'https://gitlab.london.example.com'" in settings
    assert "roles ['geo_primary_role']" in settings
    assert "gitlab_rails['geo_node_name'] = 'london'" in settings
    assert "letsencrypt['enable'] = true" in settings


def test_names_are_made_in_the_zone_that_is_given(created: dict[str, Registration]) -> None:
    """Both host names, to the address of the node that answers for them; no zone, no names."""
    record_ = created["london-name-registry.london.example.com"]
    assert (record_.plain("zoneId"), record_.plain("type")) == ("zone-example.com", "A")
    assert record_.plain("records") == ["address-of-london-1-address"]
    assert not any(name.startswith("tokyo-name") for name in created)


def test_a_server_is_replaced_on_purpose_by_a_number(created: dict[str, Registration]) -> None:
    """A new server from the newest image at the same address with the same host key; the old one goes."""
    raw = changed(CREATED, lambda r: r["sites"]["tokyo"]["nodes"]["tokyo-1"]["aws"].update(replace=1))
    recorded = record(raw)
    assert "tokyo-1-instance" not in recorded
    assert recorded["tokyo-1-address-of-instance"].plain("instanceId") == "id-of-tokyo-1-instance-1"
    assert recorded["tokyo-1-address-of-instance"].request.deleteBeforeReplace
    stack = {"gitlab-geo-registry-dev"}
    assert set(created) - stack - {"tokyo-1-instance"} == set(recorded) - stack - {"tokyo-1-instance-1"}


def test_another_kind_of_processor_is_refused_before_anything_is_touched(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """The provider would replace the server, and its disk with it; by `replace` in the same change it may."""
    for name, kind in (("london-1-instance", "x86_64"), ("tokyo-1-instance", "arm64")):
        monkeypatch.setitem(INSTANCES, name, kind)
    assert record(CREATED)
    larger = changed(CREATED, lambda r: r["sites"]["london"]["aws"].update(instance_type="m7i.4xlarge"))
    assert record(larger)["london-1-instance"].plain("instanceType") == "m7i.4xlarge"
    other = changed(CREATED, lambda r: r["sites"]["london"]["aws"].update(instance_type="c7g.2xlarge"))
    for preview in (True, False):
        with pytest.raises(pulumi.RunError) as refused:
            record(other, preview=preview)
        for text in (
            "sites.london.aws.instance_type: 'c7g.2xlarge'",
            "[architecture-mismatch]",
            "i-london-1-instance",
            "sites.london.nodes.london-1.aws.replace: 1",
            "nothing was touched",
        ):
            assert text in str(refused.value)
        assert "tokyo-1" not in str(refused.value)
    raised = changed(other, lambda r: r["sites"]["london"]["nodes"]["london-1"].update(aws={"replace": 1}))
    assert record(raised)["london-1-instance-1"].plain("ami") == "ami-of-arm64"
    monkeypatch.setitem(INSTANCES, "london-1-instance-1", "arm64")
    monkeypatch.delitem(INSTANCES, "london-1-instance")
    assert record(raised)
    back = changed(
        raised, lambda r: r["sites"]["london"]["nodes"]["london-1"]["aws"].update(instance_type="c6i.large")
    )
    with pytest.raises(
        pulumi.RunError,
        match=r"sites.london.nodes.london-1.aws.instance_type.*architecture-mismatch(.|\n)*replace: 2",
    ):
        record(back)


def test_an_existing_primary_and_a_created_secondary() -> None:
    """Mixed: only the secondary is created; it lets the primary in by its address, or by those that are said."""
    raw = changed(SHARED, lambda r: r["sites"].update(tokyo=CREATED["sites"]["tokyo"]))
    recorded = record(raw)
    assert recorded["london-1-settings"].plain("connection")["host"] == "10.10.0.11"
    assert recorded["tokyo-1-settings"].plain("connection")["host"] == "address-of-tokyo-1-address"
    assert recorded["tokyo-1-settings"].plain("connection")["user"] == "ubuntu"
    assert any(r.type.endswith("AccessKey") for r in recorded.values())
    ranges = {r.plain("cidrIpv4") for r in rules(recorded, "tokyo").values()}
    assert "10.10.0.11/32" in ranges
    raw["sites"]["london"]["peer_cidrs"] = ["203.0.113.20/32"]
    ranges = {r.plain("cidrIpv4") for r in rules(record(raw), "tokyo").values()}
    assert "203.0.113.20/32" in ranges and "10.10.0.11/32" not in ranges


def test_what_somebody_adds_beside_it_is_found(created: dict[str, Registration]) -> None:
    """Each group's rules, each role's policies, and whether the server runs: lists that hold all there may be."""
    for site in ("london", "tokyo"):
        made = created[f"{site}-exclusive-rules"]
        assert made.plain("securityGroupId") == f"id-of-{site}-nodes"
        ids = {f"id-of-{name}" for name in rules(created, site)}
        assert set(made.plain("ingressRuleIds")) | set(made.plain("egressRuleIds")) == ids
        assert all("-ingress-" in one for one in made.plain("ingressRuleIds"))
        role = created[f"{site}-exclusive-role-policies"]
        assert role.plain("policyNames") == [f"{site}-policy-acme-registry"]
        assert created[f"{site}-exclusive-role-attachments"].plain("policyArns") == []
        assert {made.provider, role.provider} == {f"{site}-aws"}
        assert created[f"{site}-1-running"].plain("state") == "running"
        assert f"{site}-1-running" in created[f"{site}-1-settings"].depends_on


def test_nothing_is_taken_away_before_the_nodes_are_done(created: dict[str, Registration]) -> None:
    """A node that refuses a change keeps what it needs; no node waits for the lists, nor one site for the other."""
    for site, other in (("london", "tokyo"), ("tokyo", "london")):
        for name in (f"{site}-exclusive-rules", f"{site}-exclusive-role-policies"):
            assert f"{site}-1-settings" in created[name].depends_on
        assert not [n for n in created[f"{other}-1-settings"].depends_on if "exclusive" in n]
    assert "tokyo-1-settings" not in created["london-exclusive-rules"].depends_on
    users = record(SHARED)
    assert users["tokyo-exclusive-user-policies"].plain("policyNames") == ["tokyo-policy-acme-registry"]
    assert users["tokyo-exclusive-user-attachments"].plain("policyArns") == []
    assert "tokyo-1-settings" in users["tokyo-exclusive-user-policies"].depends_on
    assert "ExclusiveInstances london" not in users


LONGEST = {
    "Role": 64,
    "User": 64,
    "InstanceProfile": 128,
    "RolePolicy": 128,
    "UserPolicy": 128,
    "KeyPair": 255,
}
"""AWS's limits (IAM and STS quotas); the provider adds a hyphen and seven characters, and shortens nothing."""


@pytest.mark.parametrize("base", [CREATED, SHARED])
def test_the_longest_names_there_can_be_fit(base: dict[str, Any]) -> None:
    """AWS refuses one that is too long when half of the stack is there: the configuration's own limits leave room."""
    site = "s" * 31
    raw = changed(base, lambda r: r["sites"].update({site: r["sites"].pop("tokyo")}))
    raw["storage"]["s3"] |= {"bucket": "b" * 63, "root_directory": "/" + "d" * 64}
    recorded = record(raw)
    looked = 0
    for name, made in recorded.items():
        kind = made.type.rpartition(":")[2]
        if made.type.startswith("aws:") and kind in LONGEST and "name" not in made.inputs:
            looked += 1
            assert len(name) + 8 <= LONGEST[kind], (kind, name)
    assert looked >= 4
    with pytest.raises(pulumi.RunError):
        record(changed(base, lambda r: r["sites"].update({site + "s": r["sites"].pop("tokyo")})))


def test_several_nodes_of_a_site_reach_each_other(created: dict[str, Registration]) -> None:
    """By the group itself, and only where there are several; a node without Rails gets no Geo role."""
    assert not any(n.endswith("-within") for n in rules(created, "tokyo"))
    raw = changed(CREATED, lambda _: None)
    raw["sites"]["tokyo"]["nodes"]["tokyo-2"] = {"roles": ["sidekiq"]}
    recorded = record(raw)
    within = recorded["tokyo-ingress-within"]
    assert "referencedSecurityGroupId" in within.inputs and "cidrIpv4" not in within.inputs
    settings = order(recorded["tokyo-2-settings"])["settings"]
    assert "roles " not in settings
    assert "nginx['enable'] = false" in settings


def test_a_region_without_the_image_is_refused_with_all_else_that_is_missing() -> None:
    """By key, with what would be right, before anything is made."""
    raw = changed(CREATED, lambda r: r.update(gitlab_version="99.9.9"))
    with pytest.raises(pulumi.RunError) as refused:
        record(raw)
    for text in ("sites.london.aws.region", "sites.tokyo.aws.region", "arm64", "nothing was touched"):
        assert text in str(refused.value)


def test_given_certificates_reach_the_server_as_files(created: dict[str, Registration]) -> None:
    """As secrets, on the path in nginx' settings."""
    assert order(created["tokyo-1-settings"])["files"] == {}
    tls: dict[str, Any] = certificate("*.tokyo.example.com")
    raw = changed(CREATED, lambda r: r["sites"]["tokyo"]["aws"].update(tls=tls))
    reported = order(record(raw)["tokyo-1-settings"])
    assert reported["files"] == {
        "/etc/gitlab/geo-registry/site.crt": tls["certificate"],
        "/etc/gitlab/geo-registry/site.key": tls["private_key"],
    }
    assert (
        "registry_nginx['ssl_certificate_key'] = '/etc/gitlab/geo-registry/site.key'" in reported["settings"]
    )


def test_the_longest_names_fit_into_what_iam_takes() -> None:
    """64 characters for roles and users, 128 for policies, the provider's `-` and seven characters among them."""
    site, bucket = "a" * 31, "b" * 63
    raw = json.loads(json.dumps(CREATED).replace('"london"', f'"{site}"').replace("acme-registry", bucket))
    raw["storage"]["s3"]["root_directory"] = "/images"
    recorded = record(raw) | record(
        json.loads(json.dumps(SHARED).replace('"london"', f'"{site}"').replace("acme-registry", bucket))
    )
    limits = {"Role": 64, "User": 64, "RolePolicy": 128, "UserPolicy": 128, "InstanceProfile": 128}
    names = {
        (kind, r.request.name) for r in recorded.values() if (kind := r.type.rpartition(":")[2]) in limits
    }
    assert {kind for kind, _ in names} == {*limits}
    assert [name for kind, name in names if len(name) + 8 > limits[kind]] == []


def test_two_deployments_can_stand_in_one_program() -> None:
    """Every resource is named for its component; only what a person names, buckets and hosts, must differ."""
    other = json.loads(
        json.dumps(CREATED)
        .replace("acme-registry", "other-registry")
        .replace("10.110.", "10.130.")
        .replace("10.120.", "10.140.")
    )
    both = declared({"registry": CREATED, "other": other})
    assert len(both) == len({*both}) > 120
    of_one = {name: [one for one in both if one[1].split("-")[0] == name] for name in ("registry", "other")}
    assert len(of_one["registry"]) == len(of_one["other"]) == len(both) / 2
    as_first = (
        str(sorted(of_one["other"])).replace("other-registry", "acme-registry").replace("'other", "'registry")
    )
    assert as_first == str(sorted(of_one["registry"]))
