"""What an external registry must say, as edits, in a preview and as lines; and the program that is sent to its host."""

from __future__ import annotations

import ast
import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
import yaml
from hypothesis import given

from config.parsing import parse
from config.storage_drivers import identity
from hosts.external_registry import storage as on_host
from hosts.external_registry.document import Scalar, read, tree
from hosts.external_registry.edits import applied
from hosts.external_registry.render import block
from hosts.programs import EXTERNAL_REGISTRY, external_modules, external_registry
from omnibus.ruby import filled
from plan import external_registry as external
from tests.configurations import changed, deployment, drop, per_site, put
from tests.examples import examples
from tests.invalid_configs.topologies import EXTERNAL, IMAGES, SNIPPET
from tests.invalid_configs.topologies import external as outside
from tests.ruby import Program
from tests.storages import Case, cases

LONDON = ("sites", "london")
AT = "/etc/docker/registry/gitlab-registry.crt"


def outside_per_site(**storage_of: Any) -> dict[str, Any]:
    """London's registry is external, with storage per site; by a name the storage of a site."""
    raw = changed(per_site(), lambda raw: outside(raw, **{"london-images": IMAGES}))
    for name, its in storage_of.items():
        raw["sites"][name]["storage"] = its
    return raw


def test_a_primary_registry_is_told_realm_issuer_certificate_and_notifications() -> None:
    """Shown path by path; secrets by their names. Of storage that is kept nothing is said."""
    shown = external.preview(external.edits(deployment(outside_per_site(london="keep")), "london", AT))
    assert shown == {
        "auth": "no other scheme than token",
        "auth.token.realm": '"https://gitlab.london.example.com/jwt/auth"',
        "auth.token.service": '"container_registry"',
        "auth.token.issuer": '"omnibus-gitlab-issuer"',
        "auth.token.rootcertbundle": f'"{AT}"',
        "notifications.endpoints[geo_event].name": '"geo_event"',
        "notifications.endpoints[geo_event].url": '"https://gitlab.london.example.com/api/v4/container_registry_event/events"',
        "notifications.endpoints[geo_event].timeout": '"5s"',
        "notifications.endpoints[geo_event].threshold": "5",
        "notifications.endpoints[geo_event].maxretries": "40",
        "notifications.endpoints[geo_event].backoff": '"1s"',
        "notifications.endpoints[geo_event].ignore.mediatypes": '["application/octet-stream"]',
        "notifications.endpoints[geo_event].ignore.actions": '["pull"]',
        "notifications.endpoints[geo_event].headers.Authorization": "[secrets['notification_secret']]",
    }


def test_clients_get_their_tokens_by_the_url_that_people_have_events_go_to_the_sites_own() -> None:
    """Where one URL leads to several sites."""
    raw = changed(EXTERNAL, put(*LONDON, "internal_url", to="https://gitlab-1.london.example.com"))
    shown = external.preview(external.edits(deployment(raw), "london", AT))
    assert shown["auth.token.realm"] == '"https://gitlab.london.example.com/jwt/auth"'
    assert shown["notifications.endpoints[geo_event].url"].startswith(
        '"https://gitlab-1.london.example.com/api'
    )


def test_a_secondarys_registry_only_has_its_geo_event_taken_out() -> None:
    """And gets no notification secret."""
    d = deployment(changed(outside_per_site(london="keep"), put("primary", to="tokyo")))
    shown = external.preview(external.edits(d, "london", AT))
    assert {k: v for k, v in shown.items() if not k.startswith("auth")} == {
        "notifications.endpoints[geo_event]": "none"
    }
    assert external.secret_names(external.edits(d, "london", AT)) == []


def test_a_secondary_of_shared_storage_reads_only() -> None:
    """Said in its file; the primary's says that it does not."""
    d = deployment(changed(EXTERNAL, put("primary", to="tokyo")))
    shown = external.preview(external.edits(d, "london", AT))
    assert shown["storage.maintenance.readonly.enabled"] == "true"
    assert shown["storage.maintenance.uploadpurging.enabled"] == "false"
    assert (
        external.preview(external.edits(deployment(EXTERNAL), "london", AT))["storage.maintenance.readonly"]
        == "none"
    )
    config = tree(
        {"storage": {"filesystem": {}, "cache": {}, "maintenance": {"uploadpurging": {"age": "168h"}}}}
    )
    resolved = filled(
        external.edits(d, "london", AT), {n: n for n in ("s3_access_key", "s3_secret_key", "http_secret")}
    )
    made: Any = applied(config, resolved)
    assert list(made["storage"]) == ["cache", "maintenance", "s3"]
    assert made["storage"]["maintenance"] == tree(
        {"uploadpurging": {"age": "168h", "enabled": False}, "readonly": {"enabled": True}}
    )


def test_distribution_has_names_of_its_own_for_some_keys_of_s3() -> None:
    """An ACL that our buckets take, and the bucket's name in the path of a URL; GitLab's registry has the others."""
    place = {
        "bucket": "acme-london",
        "region": "eu-west-1",
        "create": False,
        "endpoint": "https://minio.example.com",
    }
    raw = outside_per_site(london=place)
    raw["sites"]["london"]["s3_keys"] = {"access_key": "a", "secret_key": "b"}
    shown = external.preview(external.edits(deployment(raw), "london", AT))
    assert shown["storage.s3.forcepathstyle"] == "true"
    assert not {"storage.s3.pathstyle", "storage.s3.objectacl", "storage.s3.objectownership"} & shown.keys()
    made = external.preview(external.edits(deployment(EXTERNAL), "london", AT))
    assert made["storage.s3.objectacl"] == '"bucket-owner-full-control"'
    assert "storage.s3.objectownership" not in made


def test_distribution_still_has_the_drivers_that_gitlabs_registry_dropped() -> None:
    """With GitLab 18 swift is refused for omnibus' registry, and taken for one that is not."""
    swift = {"swift": {"authurl": "https://keystone.example.com/v3", "container": "acme", "tenant": "x"}}
    raw = outside_per_site(london=swift)
    raw["sites"]["london"]["credentials"] = {"swift": {"username": "registry", "password": "hidden"}}
    shown = external.preview(external.edits(deployment(raw), "london", AT))
    assert shown["storage"] == "no other driver than swift"
    assert shown["storage.swift.password"] == "secrets['swift_password']"
    own = changed(raw, drop(*LONDON, "external_registry"))
    own["sites"]["london"]["nodes"]["london-1"].pop("roles")
    parsed, errors = parse(own)
    assert parsed is None
    assert [p.key for p in errors] == ["sites.london.storage.swift"]
    assert "not known to GitLab 18.5" in str(errors[0])


def test_the_lines_for_a_person_say_what_the_edits_do() -> None:
    """YAML that loads to just that; comments say what goes."""
    d = deployment(SNIPPET)
    edits = external.edits(d, "london", external.CERTIFICATE)
    secrets = {name: f"value of {name}" for name in external.secret_names(edits)}
    text = external.snippet("london", edits, secrets)
    meant = applied({}, filled(edits, secrets))
    assert tree(yaml.safe_load(text)) == meant
    assert text.startswith("# For the config.yml of london's registry")
    assert "# No other driver than s3. No storage.maintenance.readonly.\nstorage:\n" in text
    assert "# No other scheme than token.\nauth:\n" in text
    secondary = deployment(changed(changed(per_site(), outside), put("primary", to="tokyo")))
    secrets = dict.fromkeys(["http_secret", "s3_access_key", "s3_secret_key"], "x")
    edits = external.edits(secondary, "london", external.CERTIFICATE)
    assert "# No notifications.endpoints[geo_event].\n" in external.snippet("london", edits, secrets)


def run(text: str, *arguments: str) -> subprocess.CompletedProcess[str]:
    """The program as it is run on a host: from stdin, by a Python that has nothing of this project."""
    command = [
        "/usr/bin/python3" if Path("/usr/bin/python3").exists() else sys.executable,
        "-I",
        "-",
        *arguments,
    ]
    return subprocess.run(
        command, input=text, text=True, capture_output=True, check=False, env={}, timeout=60
    )


def test_the_program_runs_as_it_is_sent(tmp_path: Path) -> None:
    """Without PyYAML on the host, in no particular locale; what it says on stdout is JSON."""
    config = tmp_path / "config.yml"
    config.write_text("storage: {s3: {bucket: ümläut}}\n")
    order = {
        "node": "london-images",
        "site": "london",
        "config": str(config),
        "secrets": {},
        "reconfigure_seconds": 60,
    }
    done = run(f"{external_registry()}run(MODULES, {json.dumps(order)!r})\n", "inspect_storage")
    assert (done.returncode, done.stderr) == (0, "")
    assert json.loads(done.stdout) == {"storage": {"driver": "s3", "place": [None, "ümläut", ""]}}
    assert external_registry().isascii()
    config.write_text("storage: {s3: {secretkey: a-secret-key, bucket: [}}\n")
    done = run(f"{external_registry()}run(MODULES, {json.dumps(order)!r})\n", "inspect_storage")
    assert (done.returncode, done.stdout) == (1, "")
    assert done.stderr.startswith("london-images (site london): ") and "a-secret-key" not in done.stderr


def test_the_modules_without_comments_are_the_same_to_python() -> None:
    """Every node of the syntax tree, at the same line, so that an error names the line of the source."""
    modules = external_modules()
    for path in EXTERNAL_REGISTRY.glob("*.py"):
        sent, source = modules.get(f"registry.{path.stem}"), path.read_text()
        if sent is not None:
            assert ast.dump(ast.parse(sent), include_attributes=True) == ast.dump(
                ast.parse(source), include_attributes=True
            )
            assert "# noqa" not in sent and sent.count("\n") == source.count("\n")
    assert {"registry.main", "registry.verification", "yaml.scanner"} <= {*modules}


def test_an_old_python_is_told_apart_before_anything_else() -> None:
    """Its first lines are read by any Python 3; everything that follows by 3.8."""
    start = (EXTERNAL_REGISTRY / "bootstrap.py").read_text()
    old = start.replace("sys.version_info < (3, 8)", "True")
    done = run(f"{old}run(MODULES)\n")
    assert done.returncode == 1
    assert (
        "Python 3.8 or later is needed on this host" in done.stderr and "nothing was changed" in done.stderr
    )
    ast.parse(start, feature_version=(3, 4))
    for path in EXTERNAL_REGISTRY.glob("*.py"):
        ast.parse(path.read_text(), feature_version=(3, 8))


IDENTITY = "->(config) { Storage.identity(config) }"


@examples(100)
@given(case=cases())
def test_both_programs_tell_a_place_alike(ruby: Program, case: Case) -> None:
    """The one in Ruby on GitLab's nodes and the one in Python: else two sites on one storage would not be found out.

    And both say what the configuration means.
    """
    d = deployment(case.raw)
    for site, keys in case.meant.items():
        config = {"storage": {"cache": {}, case.driver[site]: keys}}
        text = "\n".join(block(tree(config), 0))
        driver = d.driver_of(site)
        assert driver
        found = on_host.identity(read(text))
        assert found == ruby.call(IDENTITY, config)
        if driver.driver != "filesystem":
            assert found == identity.identity(driver)


@pytest.mark.parametrize(
    "config",
    [
        {"storage": {"filesystem": {"rootdirectory": "/var/lib/registry/"}, "delete": {"enabled": True}}},
        {"storage": {"filesystem": {"rootdirectory": "/no/such/place"}}},
        {"storage": {"inmemory": {}}},
        {"storage": {"s3": {"bucket": "b", "regionendpoint": "S3.eu-west-1.amazonaws.com/"}}},
        {"storage": {"s3": {"bucket": "b", "regionendpoint": "https://minio.example.com//"}}},
        {"storage": {"s3": {"bucket": "b", "regionendpoint": "https://[FD00:0::1]:443"}}},
        {"storage": {"s3": {"bucket": "b", "regionendpoint": "https://[::x]:9000"}}},
        {"storage": {"gcs": {"bucket": "b", "universe_domain": "U.goog"}}},
        {"storage": {"gcs": {"bucket": "b", "universe_domain": "googleapis.com"}}},
        {"storage": {"azure": {"accountname": "A", "container": "c", "trimlegacyrootprefix": False}}},
        {"storage": {"oss": {"bucket": "b", "endpoint": "oss-cn-a-internal.aliyuncs.com"}}},
        {"storage": {"swift": {"authurl": "https://K/v3/", "container": "c", "prefix": "/p/"}}},
        {"storage": {"s3": None}},
        {"storage": {"delete": {"enabled": True}}},
        {"storage": {}},
        {},
    ],
)
def test_places_that_are_written_in_several_ways(ruby: Program, config: dict[str, Any]) -> None:
    """Slashes, capitals and AWS' own endpoint make no difference, and none between the programs."""
    assert on_host.identity(tree(config)) == ruby.call(IDENTITY, config)


def test_a_network_file_system_is_one_wherever_it_is_mounted(monkeypatch: pytest.MonkeyPatch) -> None:
    """Reported from df; another disk is its own host's."""

    def mounted(source: str, kind: str, at: str) -> None:
        said = (
            f"Filesystem Type 1024-blocks Used Available Capacity Mounted on\n{source} {kind} 1 1 1 1% {at}\n"
        )
        done = subprocess.CompletedProcess([], 0, said.encode())
        monkeypatch.setattr(subprocess, "run", lambda *_, **__: done)

    mounted("nfs:/export", "nfs4", "/mnt/a b")
    assert on_host.directory("/mnt/a b/images") == ["nfs:/export", "images"]
    mounted("/dev/sda1", "ext4", "/")
    assert on_host.directory("/mnt/a b/images")[1] == "mnt/a b/images"


def test_a_storage_that_is_merged_from_elsewhere_is_not_guessed_at() -> None:
    """Nobody could tell what it is without knowing how the registry reads it."""
    text = "base: &b {filesystem: {rootdirectory: /x}}\nstorage:\n  <<: *b\n"
    with pytest.raises(Exception, match="the storage of the registry cannot be determined"):
        on_host.identity(read(text))
    assert on_host.identity({"storage": "inmemory"}) == {"driver": "inmemory", "place": [None, ""]}
    assert on_host.identity({"storage": {"s3": {"bucket": Scalar("int", "7")}}})["place"][1] == "7"
