"""The settings that a reconfigure will work with, as the node's program reads them beforehand."""

from __future__ import annotations

import time
from pathlib import Path
from typing import Any

import pytest

from omnibus import settings
from plan.node import node_settings
from tests.configurations import SHARED, deployment
from tests.ruby import Program

GITLAB_RB = "/etc/gitlab/gitlab.rb"
INCLUDE = (
    "from_file '/etc/gitlab/geo-registry/settings.rb' if File.exist?('/etc/gitlab/geo-registry/settings.rb')"
)
READ = """
->(files, asked) {
  settings = EvaluatedSettings.read(files.transform_values { |text| text&.b })
  { known: settings.known?, why: settings.why, all: settings.known? && settings.get(*asked),
    theirs: settings.known? && settings.administrators(*asked), everything: settings.instance_variable_get(:@result) }
}
"""


def read(ruby: Program, gitlab_rb: str, *asked: str, own: str | None = None, **files: str) -> Any:
    """What is read of one setting, with `own` included last."""
    texts = {GITLAB_RB: gitlab_rb + (f"\n{INCLUDE}\n" if own is not None else ""), **files}
    if own is not None:
        texts["/etc/gitlab/geo-registry/settings.rb"] = own
    return ruby.call(READ, texts, asked)


@pytest.mark.parametrize(
    ("gitlab_rb", "asked", "value"),
    [
        ("registry['enable'] = false", ("registry", "enable"), False),
        ("registry['enable'] = nil", ("registry", "enable"), None),
        ("# registry['enable'] = false", ("registry", "enable"), None),
        ("registry[:enable] = false", ("registry", "enable"), False),
        ("registry['enable'] = ENV['LAB_IS_UNSET'] == 'yes'", ("registry", "enable"), False),
        ("registry['dir'] = \"/srv/#{'registry'}\"", ("registry", "dir"), "/srv/registry"),
        ("registry_external_url('https://a.example')", ("registry_external_url",), "https://a.example"),
        ("self.registry_external_url = 'https://a.example'", ("registry_external_url",), "https://a.example"),
        ("external_url = 'https://a.example'", ("external_url",), None),
        ("Gitlab['registry']['enable'] = false", ("registry", "enable"), False),
        ("registry['nginx']['enable'] = false", ("registry", "nginx", "enable"), False),
        ("registry_nginx['listen_port'] = 5050", ("registry_nginx", "listen_port"), 5050),
        ("registry['nginx'] = { listen_https: false }", ("registry", "nginx", "listen_https"), False),
        ("registry_nginx.merge!('listen_https' => false)", ("registry_nginx", "listen_https"), False),
        (
            "registry['storage']['maintenance']['readonly']['enabled'] = true",
            ("registry", "storage", "maintenance"),
            {"readonly": {"enabled": True}},
        ),
        ("if registry['enable'] then nginx['enable'] = false end", ("registry", "enable"), {}),
        ("roles ['geo_primary_role', 'consul_role']", ("roles",), ["geo_primary_role", "consul_role"]),
        ("%w[a b].each { |n| nginx[n] = n.to_sym }", ("nginx", "b"), "b"),
        ("require 'set'; require 'json'; registry['enable'] = Set.new.empty?", ("registry", "enable"), True),
        (
            "puts 'noise'; warn 'noise'; system('echo noise'); registry['dir'] = '/a'",
            ("registry", "dir"),
            "/a",
        ),
        (
            "gitlab_rails['registry_port'] = '5050'\n__END__\nnot Ruby",
            ("gitlab_rails", "registry_port"),
            "5050",
        ),
        ("registry['dir'] = '/srv/ümläut'", ("registry", "dir"), "/srv/ümläut"),
    ],
)
def test_a_setting_is_read_as_omnibus_evaluates_it(
    ruby: Program, gitlab_rb: str, asked: tuple[str, ...], value: Any
) -> None:
    """gitlab.rb is a program, and every way of writing a setting counts."""
    found = read(ruby, gitlab_rb, *asked)
    assert (found["known"], found["all"], found["theirs"]) == (True, value, value)


def test_the_settings_to_be_written_win_and_the_administrators_are_still_known(ruby: Program) -> None:
    """Files that are not on disk yet are read as they are to be."""
    own = """
secrets = JSON.parse(File.read('/etc/gitlab/geo-registry/secrets.json'))
registry['internal_key'] = secrets['registry_key']
registry['enable'] = secrets['registry_key'] == 'the key'
"""
    secrets = {"/etc/gitlab/geo-registry/secrets.json": '{"registry_key": "the key"}'}
    found = read(ruby, "registry['enable'] = false", "registry", "enable", own=own, **secrets)
    assert (found["all"], found["theirs"]) == (True, False)
    assert "the key" not in str(found)
    absent = ruby.call(
        READ,
        {GITLAB_RB: f"registry['dir'] = '/a'\n{INCLUDE}\n", "/etc/gitlab/geo-registry/settings.rb": None},
        ["registry", "dir"],
    )
    assert absent["all"] == "/a"


def test_every_settings_file_of_this_program_can_be_read(ruby: Program) -> None:
    """With the secrets that it reads, below another file's registry settings."""
    d = deployment(SHARED)
    for site_name, site in d.sites.items():
        for name in site.nodes:
            text = node_settings(d, site_name, name).text
            secrets = ", ".join(
                f'"{s}": "secret-{s}"' for s in node_settings(d, site_name, name).secret_names
            )
            files = {settings.SECRETS_FILE: f"{{{secrets}}}"}
            found = read(
                ruby, "registry['storage'] = { 'swift' => {} }", "registry_external_url", own=text, **files
            )
            assert found["why"] is None
            assert found["all"] == site.registry_url
            assert "secret-" not in str(found)


@pytest.mark.parametrize(
    ("gitlab_rb", "why"),
    [
        ("registry['enable'] = true\nexternal_url node['fqdn']", f"{GITLAB_RB}:2"),
        # A name that omnibus does not know is the reconfigure's to refuse.
        ("\nhunter2_is_the_password", None),
        ("registry['x'] = File.read('/no/such/file')", "Errno::ENOENT (/etc/gitlab/gitlab.rb:1)"),
        ("raise 'hunter2'", "RuntimeError (/etc/gitlab/gitlab.rb:1)"),
        ("require 'no_such_gem'", "LoadError (/etc/gitlab/gitlab.rb:1)"),
        ("def broken(", "SyntaxError (/etc/gitlab/gitlab.rb)"),
        ("exit 3", "SystemExit (/etc/gitlab/gitlab.rb:1)"),
        ("exit! 3", "it ended the process that evaluated it"),
        ("Process.kill('KILL', Process.pid)", "it ended the process that evaluated it"),
        (
            "from_file '/no/such/file.rb'",
            "Errno::ENOENT (/etc/gitlab/gitlab.rb:1)",
        ),
    ],
)
def test_what_cannot_be_evaluated_is_said_and_nothing_is_guessed(
    ruby: Program, gitlab_rb: str, why: str | None
) -> None:
    """The reason has the line, and never a value: those may be secret."""
    found = read(ruby, gitlab_rb, "registry", "enable")
    assert found["known"] is (why is None)
    assert "hunter2" not in str(found)
    if why:
        assert why in found["why"]


def test_after_an_include_names_are_no_longer_made_up(ruby: Program, tmp_path: Path) -> None:
    """As in omnibus: a reconfigure would fail there."""
    other = tmp_path / "other.rb"
    other.write_text("registry['dir'] = '/other'\n")
    include = f"from_file '{other}'\n"
    assert read(ruby, include, "registry", "dir")["all"] == "/other"
    later = read(ruby, f"{include}registry['database']['enabled'] = false", "registry", "dir")
    assert later["why"] == "NoMethodError (/etc/gitlab/gitlab.rb:2)"


def test_a_file_without_end_is_given_up(ruby: Program) -> None:
    """With all that it has started; the reader itself goes on."""
    ruby.call("-> { EvaluatedSettings.send(:remove_const, :SECONDS); EvaluatedSettings::SECONDS = 0.5; nil }")
    began = time.monotonic()
    assert read(ruby, "system('sleep 30')", "registry", "dir")["why"] == "did not end within 0.5 s"
    assert time.monotonic() - began < 3
    held = read(ruby, "spawn('sleep 20', :out => :out); registry['dir'] = '/a'", "registry", "dir")
    assert held["all"] == "/a"
    ruby.call("-> { EvaluatedSettings.send(:remove_const, :SECONDS); EvaluatedSettings::SECONDS = 60; nil }")


def test_a_name_that_is_not_read_is_a_mistake_of_this_program(ruby: Program) -> None:
    """It would be nil forever."""
    asked = "EvaluatedSettings.read('/etc/gitlab/gitlab.rb' => '').get('registry', 'internal_key')"
    said = ruby.call(f"-> {{ begin; {asked}; rescue KeyError => e; e.message; end }}")
    assert said == "registry.internal_key is not in EvaluatedSettings::READ"


def test_pieces_of_configuration_that_may_hold_a_token_stay_where_they_are(ruby: Program) -> None:
    """nginx' own settings are read as a whole, but not these."""
    gitlab_rb = """
nginx['custom_nginx_config'] = 'proxy_set_header X-Token hunter2;'
nginx['proxy_set_headers'] = { 'X-Token' => 'hunter2' }
registry_nginx['password'] = 'hunter2'
nginx['listen_port'] = 80
"""
    found = read(ruby, gitlab_rb, "nginx")
    assert found["all"] == {"listen_port": 80}
    assert "hunter2" not in str(found)
