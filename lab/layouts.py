"""The available layouts; ``python -m lab run --sites NAME`` selects one."""

from __future__ import annotations

from dataclasses import replace

from lab.sites import Layout, Node, Site

LONDON = Site("london", "primary", (Node("london-1", "10.10.0.11"),))
TOKYO = Site("tokyo", "secondary", (Node("tokyo-1", "10.20.0.11"),))
TOKYO_TWO_NODES = Site(
    "tokyo",
    "secondary",
    (
        Node("tokyo-web", "10.20.0.11", runs=("rails", "registry")),
        # Another port on one node, as is common: nothing may rely on port 22.
        Node("tokyo-sidekiq", "10.20.0.12", ssh_port=2222, runs=("sidekiq",)),
    ),
)
LONDON_FOUR_NODES = Site(
    "london",
    "primary",
    (
        Node("london-web-1", "10.10.0.11", runs=("rails",)),
        Node("london-web-2", "10.10.0.12", runs=("rails",)),
        Node("london-sidekiq", "10.10.0.13", runs=("sidekiq",)),
        Node("london-registry", "10.10.0.14", runs=("registry",)),
    ),
    joined=True,
)
# A registry outside the Linux package, on a host without any other part of GitLab.
LONDON_IMAGES = Node("london-images", "10.10.0.21", runs=("distribution",))
LONDON_EXTERNAL = Site(
    "london",
    "primary",
    (Node("london-1", "10.10.0.11", runs=("rails", "sidekiq")),),
    registry_server=LONDON_IMAGES,
)
SYDNEY = Site("sydney", "secondary", (Node("sydney-1", "10.30.0.11"),))

PLACES = ("london", "tokyo", "sydney", "toronto")


def many(count: int) -> Layout:
    """For benchmarks: nodes with all of GitLab, a quarter of them (at least one) at the primary."""
    sizes = [max(1, count // 4)]
    rest, secondaries = count - sizes[0], min(len(PLACES) - 1, count - 1)
    sizes += [rest // secondaries + (number < rest % secondaries) for number in range(secondaries)]
    return Layout(
        tuple(
            Site(
                place,
                "secondary" if net else "primary",
                tuple(Node(f"{place}-{n}", f"10.{net + 1}0.0.{10 + n}") for n in range(1, size + 1)),
            )
            for net, (place, size) in enumerate(zip(PLACES, sizes, strict=False))
        )
    )


LAYOUTS = {
    "default": Layout((LONDON, TOKYO)),
    "two-nodes": Layout((LONDON, TOKYO_TWO_NODES)),
    "three-sites": Layout((LONDON_FOUR_NODES, TOKYO, SYDNEY)),
    "external": Layout((LONDON_EXTERNAL, TOKYO), (LONDON_IMAGES,)),
    # Companies have private CAs, which the nodes of another site do not trust.
    "private-ca": Layout((replace(LONDON, own_authority=True), replace(TOKYO, own_authority=True))),
    "unified": Layout((replace(LONDON, unified=True), replace(TOKYO, unified=True))),
    "bastion": Layout((LONDON, TOKYO), (Node("bastion", "10.99.1.10", runs=()),), ("tokyo",)),
    # Only an AWS account: for stacks that create everything.
    "aws": Layout((), ()),
    # No GitLab yet, like a new machine; this lab starts fastest.
    "bare": Layout((), (Node("london-1", "10.10.0.11", runs=()), Node("tokyo-1", "10.20.0.11", runs=()))),
    **{f"bench-{count}": many(count) for count in (2, 6, 12, 24)},
}
