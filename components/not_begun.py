"""Why the program could not begin on a node that was reached, by what is printed there instead."""

from __future__ import annotations

import re

_SUDO = (
    "let {user} use sudo there without a password and for any command, by `{user} ALL=(root) NOPASSWD: ALL` "
    "in a file of /etc/sudoers.d, or log in as `ssh.user: root`"
)
_NOT_BEGUN = [
    (r"a password is required", _SUDO),
    (r"is not in the sudoers file|is not allowed to (execute|run)|may not run sudo", _SUDO),
    (r"must have a tty", "put `Defaults:{user} !requiretty` in a file of /etc/sudoers.d there"),
    (r"sudo: (command )?not found", "install sudo there, or log in as `ssh.user: root`"),
    (
        r"/opt/gitlab/embedded/bin/ruby: (command not found|not found|No such file)",
        "install GitLab's Linux package there, or name the GitLab node in `{key}.host`",
    ),
    (r"python3: (command )?not found", "install Python 3.8 or later there"),
    (r"Python 3.8 or later is needed", "install a later python3 there, first on the PATH of sudo"),
    (r"(?i)please login as", "log in as the user that is named there: `ssh.user`"),
    (r"This account is|nologin", "give {user} a shell there, or another `ssh.user`"),
    (r"^sudo: ", "have `sudo -n true` succeed for {user} there"),
]
"""What is printed where the program cannot begin, the most telling first; {key}: the node's place."""


def why_not_begun(output: str) -> tuple[str, str]:
    """The telling line, and what to do."""
    lines = [line.strip() for line in output.splitlines() if line.strip()]
    for pattern, remedy in _NOT_BEGUN:
        if found := next((line for line in lines if re.search(pattern, line)), None):
            return found[:300], remedy
    return (
        lines[-1][:300] if lines else ""
    ), "see what `ssh {user}@{host} true` says: it must end without output"
