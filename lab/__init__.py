"""Two GitLab sites on this machine, to run the program against: real sshd, sudo, registry and S3 protocol.

The lab knows nothing of the program; it only lends it hosts. Start it with ``python -m lab``.
"""
