"""The reason of a failed reconfigure: the message of the exception, whatever chef prints around it, and no secret."""

from __future__ import annotations

import json
import subprocess
from pathlib import Path

import pytest

from hosts.programs import GITLAB_NODE

REASON = """
%w[report failure files omnibus command_reason].each { |name| require File.join(ARGV[0], name) }
Omnibus.send(:remove_const, :GITLAB_RB)
Omnibus::GITLAB_RB = ARGV[1]
puts JSON.generate(CommandReason.of($stdin.read))
"""
GITLAB_RB = """\
external_url 'https://gitlab.london.example.com'
gitlab_rails['smtp_password'] = 'hunter2-of-the-mail'
gitlab_rails['redis_password'] = "n0t-shown"
gitlab_rails['ldap_servers'] = YAML.load(File.read('/etc/gitlab/ldap.yml'))
nginx['ssl_certificate_key'] = '/etc/gitlab/ssl/own.key'
"""
CHEF = """\
Starting Cinc Client, version 18.3.0
Recipe: gitlab::gitlab-rails
  * template[/var/opt/gitlab/gitlab-rails/etc/gitlab.yml] action create
    + error_log_level: fatal
[2026-11-28T10:00:00+00:00] ERROR: Unhandled exception in recipe

================================================================================
Recipe Compile Error in /opt/gitlab/embedded/cookbooks/cache/cookbooks/gitlab-base/recipes/default.rb
================================================================================
\x1b[31m{error}\x1b[0m
-------------
{message}

System Info:
------------
fatal_exceptions=none

Running handlers:
[2026-11-28T10:00:01+00:00] ERROR: Running exception handlers
\x1b[31mThere was an error running gitlab-ctl reconfigure:\x1b[0m

\x1b[31m{message}\x1b[0m

{after}Running handlers complete
[2026-11-28T10:00:01+00:00] ERROR: Exception handlers complete
Infra Phase failed. 0 resources updated in 04 seconds
[2026-11-28T10:00:01+00:00] FATAL: Stacktrace dumped to /opt/gitlab/embedded/cookbooks/cache/cinc-stacktrace.out
[2026-11-28T10:00:01+00:00] FATAL: {error}: {message}
"""


def reason(tmp_path: Path, output: str, gitlab_rb: str = GITLAB_RB) -> str:
    """What a person at the terminal reads."""
    file = tmp_path / "gitlab.rb"
    file.write_text(gitlab_rb)
    done = subprocess.run(
        ["ruby", "-e", REASON, str(GITLAB_NODE), str(file)],
        input=output,
        capture_output=True,
        text=True,
        check=True,
    )
    found: str = json.loads(done.stdout)
    return found


def printed(message: str, error: str = "RuntimeError", after: str = "") -> str:
    """The output of a reconfigure that failed with this exception."""
    return CHEF.format(message=message, error=error, after=after)


# Each was printed by the real cookbooks over a gitlab.rb that somebody had.
MESSAGES = [
    "No such file or directory @ rb_sysopen - /etc/gitlab/ldap.yml",
    "GitLab external URL must include a schema and FQDN, e.g. http://gitlab.example.com/",
    "db_key_base and secrets_file are mutually exclusive, set only one of them",
    'bad URI(is not URI?): "https://git lab.example.com"',
    "no implicit conversion of nil into String",
]


@pytest.mark.parametrize("message", MESSAGES)
def test_the_exceptions_message_alone_is_the_reason(tmp_path: Path, message: str) -> None:
    """Not what else chef prints with the words error, fatal and exception in it."""
    assert reason(tmp_path, printed(message)) == message


def test_removed_settings_are_named(tmp_path: Path) -> None:
    """omnibus' message does not say which; the list that it prints after the message does."""
    removed = "* git_data_dirs has been deprecated since 17.8 and was removed in 18.0. See the docs."
    after = (
        f"Removals:\n{removed}\n\n"
        "Update the configuration in your gitlab.rb file or GITLAB_OMNIBUS_CONFIG environment.\n\n"
    )
    message = "Removed configurations found in gitlab.rb. Aborting reconfigure."
    assert [line.strip() for line in reason(tmp_path, printed(message, after=after)).splitlines()] == [
        message,
        removed,
    ]


@pytest.mark.parametrize(
    ("message", "shown"),
    [
        (
            ("/etc/gitlab/gitlab.rb:2: syntax error, unexpected local variable\n"
            "gitlab_rails['smtp_password'] = 'hunter2-of-the-mail'\n                       ^~~~~~~~~"),
            "/etc/gitlab/gitlab.rb:2: syntax error, unexpected local variable",
        ),
        (
            ("/etc/gitlab/gitlab.rb:2: syntax errors found (SyntaxError)\n"
            "  1 | external_url 'https://gitlab.london.example.com'\n"
            "> 2 | gitlab_rails['smtp_password'] = 'hunter2-of-the-mail'\n"
            "    |                                 ^ unexpected string"),
            "/etc/gitlab/gitlab.rb:2: syntax errors found (SyntaxError)",
        ),
        (
            "/etc/gitlab/gitlab.rb:2: syntax error, unexpected end-of-input\n..._password'] = 'hunter2-of-the-mail...",
            "/etc/gitlab/gitlab.rb:2: syntax error, unexpected end-of-input",
        ),
        ("the password hunter2-of-the-mail is too short", "the password [secret] is too short"),
        ("n0t-shown is not a password", "[secret] is not a password"),
        (
            'bad URI(is not URI?): "redis://:an other@10.0.0.1"',
            'bad URI(is not URI?): "redis://[secret]@10.0.0.1"',
        ),
        ("cannot reach redis://:another@10.0.0.1", "cannot reach redis://[secret]@10.0.0.1"),
        ("cannot read /etc/gitlab/ssl/own.key", "cannot read /etc/gitlab/ssl/own.key"),
    ],
)  # fmt: skip
def test_no_line_and_no_secret_of_gitlab_rb_is_shown(tmp_path: Path, message: str, shown: str) -> None:
    """Ruby quotes the lines that it cannot read."""
    found = reason(tmp_path, printed(message, "SyntaxError"))
    assert found.splitlines()[0] == shown
    assert "hunter2" not in found


def test_without_a_headline_the_lines_that_say_why_are_found(tmp_path: Path) -> None:
    """Of other commands, of a time-out, and of a reconfigure that ended before its handlers; not the last lines."""
    assert "hunter2" not in reason(tmp_path, "smtp_password = 'hunter2\n ^\n")
    output = "Recipe: gitlab::config\n\x1b[31mMixlib::Config::UnknownConfigOptionError: Unknown option\x1b[0m\n  at x.rb\n"
    assert reason(tmp_path, output) == "Mixlib::Config::UnknownConfigOptionError: Unknown option"
    assert reason(tmp_path, "all is well\n") == "it reports no reason"
    error = (
        "+ gitlab_rails['smtp_password'] = 'hunter2-of-the-mail' # fatal\nfatal: no space left on device\n"
    )
    assert reason(tmp_path, error) == "fatal: no space left on device"
