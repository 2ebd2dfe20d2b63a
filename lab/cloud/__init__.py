"""The lab's EC2: instances started in moto become hosts with addresses, firewalls and metadata as on AWS.

moto is the control plane and runs in the same process, so its state is read immediately and without polling:
`desired_state` computes the desired state, `hypervisor` applies it.
"""
