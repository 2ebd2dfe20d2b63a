"""The lab's EC2: what the program starts at moto becomes hosts, with AWS' addresses, firewalls and metadata.

moto is the control plane and runs in the same process, so that its state is read at once and without polling:
`wanted` says what there should be, `hypervisor` makes it so.
"""
