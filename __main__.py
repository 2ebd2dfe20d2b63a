"""Two or more GitLab sites, one container registry: what `pulumi up` does, from top to bottom.

The stack's configuration (`Pulumi.<stack>.yaml`) names the sites, their nodes, the storage and the primary.
"""

import pulumi

import config
from components.accounts import Providers
from components.exclusive import exclusive
from components.hosts import Hosts
from components.kept_storage import verified
from components.lock_file import lock_file
from components.next_steps import todo
from components.registry_secrets import RegistrySecrets
from components.registry_storage import RegistryStorage
from components.site import PrimarySite, SecondarySite, Site, by_hand
from components.turns import sites_before

deployment = config.load()

# One provider a region, and every node's server: one that exists, or one that is created here.
providers = Providers(deployment)
hosts = Hosts("hosts", deployment, providers)

# What all sites must agree on: the registry key is read from the primary, the other secrets are made.
secrets = RegistrySecrets("registry", deployment, hosts)

# Buckets, and for each site the least rights: a secondary on shared storage cannot write.
storage = RegistryStorage("registry", deployment, providers)

# Sites that keep their storage must not in truth share it: found out before a node is touched.
checked = verified(deployment, hosts)


# What registries that may not write would have to write is in their storage before any node is touched.
primary_storage = [secrets, *storage.ready(deployment.primary)]
locks = lock_file(deployment, hosts, storage.secrets_of(deployment.primary), after=primary_storage)


def site(kind: type[Site], name: str, after: list[pulumi.Resource]) -> Site:
    """The settings of each of the site's nodes, applied and proven."""
    given = {**secrets.of(name), **storage.secrets_of(name)}
    before = [*storage.ready(name), *locks, *after]
    return kind(name, deployment, hosts=hosts, secrets=given, checked=checked, after=before)


# All sites at once, as far as they can prove themselves against the primary's registry.
sites = {deployment.primary: site(PrimarySite, deployment.primary, [])}
for name in deployment.secondaries:
    sites[name] = site(SecondarySite, name, sites_before(deployment, sites))

# Afterwards nothing else may be in force: a refresh finds other firewall rules and other permissions.
for name in deployment.sites:
    exclusive(deployment, name, hosts=hosts, storage=storage, providers=providers, after=sites[name])

for name, output in {"login_key": hosts.login_key, "registry_config": by_hand(sites)}.items():
    if output is not None:
        pulumi.export(name, output)
pulumi.export("sites", {name: s.overview for name, s in sites.items()})
pulumi.export("next_steps", todo(deployment, hosts))
pulumi.export("proof", {name: s.proof for name, s in sites.items()})
