"""Why the program could not start on a node that accepted the connection, by the output there."""

from __future__ import annotations

import re

_SUDO = (
    "allow {user} to run sudo there without a password and for any command, by `{user} ALL=(root) NOPASSWD: "
    "ALL` in a file of /etc/sudoers.d, or log in as `ssh.user: root`"
)
_ERRORS = [
    (r"a password is required", "sudo-not-permitted", _SUDO),
    (
        r"is not in the sudoers file|is not allowed to (execute|run)|may not run sudo",
        "sudo-not-permitted",
        _SUDO,
    ),
    (
        r"must have a tty",
        "sudo-requires-tty",
        "put `Defaults:{user} !requiretty` in a file of /etc/sudoers.d there",
    ),
    (
        r"sudo: (command )?not found",
        "sudo-not-installed",
        "install sudo there, or log in as `ssh.user: root`",
    ),
    (
        r"/opt/gitlab/embedded/bin/ruby: (command not found|not found|No such file)",
        "gitlab-package-missing",
        "install GitLab's Linux package there, or name the GitLab node in `{key}.host`",
    ),
    (r"python3: (command )?not found", "python-not-installed", "install Python 3.8 or later there"),
    (
        r"Python 3.8 or later is needed",
        "python-too-old",
        "install a later python3 there, first on the PATH of sudo",
    ),
    (r"(?i)please login as", "ssh-user-refused", "log in as the user that is named there: `ssh.user`"),
    (
        r"This account is|nologin",
        "ssh-user-refused",
        "configure a login shell for {user} there, or another `ssh.user`",
    ),
    (r"^sudo: ", "sudo-failed", "make sure that `sudo -n true` succeeds for {user} there"),
]
"""What is printed if the program cannot start, the most specific first; its code; what to do.

{key}: the node's key in the configuration.
"""


def start_error(output: str) -> tuple[str, str, str]:
    """The code, the line that gives the cause, and what to do."""
    lines = [line.strip() for line in output.splitlines() if line.strip()]
    for pattern, code, remedy in _ERRORS:
        if matching := next((line for line in lines if re.search(pattern, line)), None):
            return code, matching[:300], remedy
    last = lines[-1][:300] if lines else ""
    return "program-not-started", last, "check what `ssh {user}@{host} true` says: it must end without output"
