"""gitlab-ctl of the lab evaluates the real gitlab.rb with omnibus' traps: names, includes, waiting."""

from __future__ import annotations

import json
import shutil
import subprocess
from pathlib import Path

import pytest

from tests.lab.omnibus.gitlab_tree import (
    CONFIG_YML,
    GITLAB_YML,
    OMNIBUS,
    SITE,
    GitLabTree,
    for_everybody,
    run_as,
    wait_for,
)

# -- gitlab.rb


@pytest.mark.parametrize(
    ("line", "said"),
    [
        ("regsitry['enable'] = true", "Reading unsupported config value regsitry."),
        ("registry_extrenal_url 'https://x'", "Cannot set unsupported config value registry_extrenal_url."),
        ("self.registry_extrenal_url = 'x'", "Cannot set unsupported config value registry_extrenal_url."),
        ("grafana['enable'] = false", "Reading unsupported config value grafana."),
        ("registry['enable' = true", "syntax error"),
        ("git_data_dirs({ 'default' => { 'path' => '/x' } })", "git_data_dirs was removed in 18.0"),
        ("sidekiq['cluster'] = false", "sidekiq['cluster'] was removed in 14.0"),
        ("roles ['geo_secondry_role']", "invalid roles have been set in 'roles': geo_secondry_role"),
    ],
)
def test_an_unknown_name_a_syntax_error_or_a_removed_setting_exits_1(
    host: GitLabTree, line: str, said: str
) -> None:
    """Under the real names of the errors, and nothing is rendered."""
    output = host.fails(SITE + line)
    assert said in output
    assert "There was an error running gitlab-ctl reconfigure" in output
    assert not host.exists(CONFIG_YML)


def test_a_typo_in_a_nested_key_exits_0(host: GitLabTree) -> None:
    """Nobody says so, and the setting has no effect."""
    host.reconfigure(
        SITE + "registry['storge']['s3']['bucket'] = 'x'\ngitlab_rails['registry_enabeld'] = false"
    )
    assert list(host.registry()["storage"]) == ["filesystem", "cache", "delete"]


def test_nested_hashes_come_into_being_and_symbols_are_text(host: GitLabTree) -> None:
    """`registry['storage']['s3']['bucket'] = …` needs no hash before it."""
    host.reconfigure(
        SITE + "registry[:storage]['s3'][:bucket] = 'x'\nregistry['storage']['s3']['v'] = { a: [{ b: 1 }] }\n"
        "gitlab_rails[:geo_node_name] = 'tokyo'"
    )
    assert host.rails()["geo"]["node_name"] == "tokyo"
    assert host.registry()["storage"]["s3"] == {"bucket": "x", "v": {"a": [{"b": 1}]}}


def test_an_assignment_only_makes_a_local_variable(host: GitLabTree) -> None:
    """`registry_external_url = 'x'` is Ruby without effect; a call is meant."""
    host.reconfigure(
        "external_url 'http://gitlab.london.example.com'\nregistry_external_url = 'https://registry.x'"
    )
    assert not host.exists(CONFIG_YML)


def test_any_ruby_text_is_read_as_utf_8(host: GitLabTree) -> None:
    """Whatever LANG says, also with CRLF and without a last newline."""
    host.write(
        "/etc/gitlab/gitlab.rb",
        (SITE + "gitlab_rails['geo_node_name'] = 'Zürich 東京'").replace("\n", "\r\n"),
    )
    host.reconfigure()
    assert host.rails()["geo"]["node_name"] == "Zürich 東京"


# -- from_file


def test_after_an_include_strict_mode_and_auto_creation_are_off(host: GitLabTree) -> None:
    """A misspelled name passes then, and a nested write fails; before the include, and in it, both are on."""
    host.write("/etc/gitlab/own.rb", "registry['a']['b'] = 1\n")
    include = f"{SITE}registry['c']['d'] = 1\nfrom_file '{host.path('/etc/gitlab/own.rb')}'\n"
    host.reconfigure(f"{include}registry_extrenal_url 'https://x'")
    output = host.fails(f"{include}registry['nested']['enabled'] = false")
    assert "undefined method `[]=' for nil" in output
    host.write("/etc/gitlab/own.rb", "regsitry_external_url 'https://x'\n")
    assert "Cannot set unsupported config value regsitry_external_url" in host.fails(include)


def test_an_include_on_the_last_line_wins(host: GitLabTree) -> None:
    """A hash assigned whole replaces the administrator's whole hash."""
    host.write("/etc/gitlab/own.rb", "registry['storage'] = { 's3_v2' => { 'bucket' => 'own' } }\n")
    theirs = "registry['storage'] = { 'filesystem' => { 'rootdirectory' => '/theirs' }, 'redirect' => {} }\n"
    host.reconfigure(f"{SITE}{theirs}from_file '{host.path('/etc/gitlab/own.rb')}'")
    assert host.registry()["storage"] == {
        "s3_v2": {"bucket": "own"},
        "cache": {"blobdescriptor": "inmemory"},
        "delete": {"enabled": True},
    }


def test_a_missing_include_fails_unless_guarded(host: GitLabTree) -> None:
    """The remedy in facts.md works."""
    assert "Cannot open or read /nowhere.rb!" in host.fails(f"{SITE}from_file '/nowhere.rb'")
    host.reconfigure(f"{SITE}from_file '/nowhere.rb' if File.exist?('/nowhere.rb')")


# -- the command


def test_a_reconfigure_waits_for_another_without_a_limit(host: GitLabTree) -> None:
    """It says whom it waits for, and goes on when that one has ended."""
    host.write("/opt/gitlab/etc/lab.json", json.dumps(host.lab_settings() | {"reconfigure_seconds": 3}))
    first = host.begin("reconfigure")
    wait_for(lambda: host.exists(GITLAB_YML))
    with pytest.raises(subprocess.TimeoutExpired):
        host.ctl("reconfigure", timeout=0.5)
    second = host.ctl("reconfigure")
    assert f"Cinc Client {first.pid} is running, will wait" in second.stdout
    assert (first.wait(), second.returncode) == (0, 0)


def test_a_killed_run_leaves_its_lock_free_and_its_restarts_undone(host: GitLabTree) -> None:
    """The next run finds the files as they should be, and so restarts nothing."""
    host.reconfigure()
    host.commanded()
    host.write("/opt/gitlab/etc/lab.json", json.dumps(host.lab_settings() | {"reconfigure_seconds": 20}))
    host.gitlab_rb(SITE + "gitlab_rails['time_zone'] = 'Asia/Tokyo'")
    run = host.begin("reconfigure")
    wait_for(lambda: "Asia/Tokyo" in host.read(GITLAB_YML))
    run.kill()
    run.wait()
    host.write("/opt/gitlab/etc/lab.json", json.dumps(host.lab_settings()))
    host.reconfigure()
    assert host.commanded() == []


def test_each_run_prints_changed_files_with_their_secrets_and_keeps_a_log(host: GitLabTree) -> None:
    """The key is suppressed, the rest of config.yml is not; one numbered log a run, also of one that fails."""
    output = host.reconfigure(SITE + "registry['http_secret'] = 'in-the-open'")
    assert 'secret: "in-the-open"' in output
    assert "PRIVATE KEY" not in output
    host.fails("bad name")
    logs = sorted(host.path("/var/log/gitlab/reconfigure").iterdir(), key=lambda log: log.name.split("_")[1])
    assert [log.name.split("_")[1] for log in logs] == ["1.log", "2.log"]
    assert all(log.name.split("_")[0].isdigit() for log in logs)
    assert (logs[0].read_text(), logs[0].stat().st_mode & 0o777) == (output, 0o600)


def test_a_checkout_that_only_root_may_enter_is_enough_for_these_tests(tmp_path: Path) -> None:
    """Like /root, and with a space in its path: they run the lab's gitlab-ctl as somebody who may not enter it."""
    tmp_path.chmod(0o700)
    closed = shutil.copytree(OMNIBUS, tmp_path / "closed to others", symlinks=True)
    command = [str(for_everybody(closed) / "bin/gitlab-ctl"), "status"]
    done = subprocess.run(command, check=False, capture_output=True, text=True, user=run_as())
    assert (done.returncode, done.stderr) == (1, "This command must be executed as root user\n")
