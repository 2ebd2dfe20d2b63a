"""Two or more GitLab sites, one container registry: what `pulumi up` does.

The stack's configuration (`Pulumi.<stack>.yaml`) names the sites, their nodes, the storage and the primary.
"""

import pulumi

from components.geo_container_registry import GeoContainerRegistry, GeoContainerRegistryArgs
from config import stack
from plan.resolve import resolve

registry = GeoContainerRegistry("registry", GeoContainerRegistryArgs(resolve(stack.load())))

if registry.login_key is not None:
    pulumi.export("login_key", registry.login_key)
if registry.registry_config:
    pulumi.export("registry_config", registry.registry_config)
pulumi.export("sites", registry.sites)
pulumi.export("next_steps", registry.next_steps)
pulumi.export("proof", registry.proof)
