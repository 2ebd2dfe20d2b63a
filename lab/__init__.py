"""Two GitLab sites on this machine, to run the program against: real sshd, sudo, registry and S3 protocol.

The lab does not depend on the program; it only provides hosts. Start it with ``python -m lab``.
"""
