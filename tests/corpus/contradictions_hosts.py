"""What hosts and their networks may not say together."""

from __future__ import annotations

from collections.abc import Callable

from tests.corpus.sites import WORLD, hosts_of
from tests.corpus.values import HOST_KEYS, SECRET, Raw, pair
from tests.corpus.whole import Reported, Whole, contradiction, created


def _aws(
    w: Whole, key: str, change: Callable[[Raw, Raw], object], wanted: Callable[[Raw], object] = created
) -> Reported:
    site = w.site(lambda its: created(its) and wanted(its))
    change(w.sites[site]["aws"], w.sites[site])
    return f"sites.{site}.{key}"


def _https(site: Raw) -> bool:
    return str(site["external_url"]).startswith("https:")


def _given(site: Raw) -> bool:
    return "certificate" in site["aws"].get("tls", {})


def _lets_encrypt(site: Raw) -> bool:
    return _https(site) and not _given(site)


@contradiction("ssh-open-to-internet")
def aws_everybody(w: Whole) -> Reported:
    return _aws(
        w, "aws.admin_cidrs", lambda aws, _: aws.update(admin_cidrs=[w.tape.pick((WORLD, "128.0.0.0/1"))])
    )


@contradiction("range-invalid")
def aws_range_of_none(w: Whole) -> Reported:
    key = w.tape.pick(("admin_cidrs", "client_cidrs"))
    return _aws(w, f"aws.{key}", lambda aws, _: aws.update({key: ["198.51.100.7/24"]}))


@contradiction("entry-repeated")
def aws_range_twice(w: Whole) -> Reported:
    return _aws(w, "aws.admin_cidrs", lambda aws, _: aws.update(admin_cidrs=["198.51.100.7/32"] * 2))


@contradiction("network-ambiguous", "range-invalid")
def aws_network(w: Whole) -> Reported:
    kinds: tuple[Raw, ...] = (
        {"cidr": "10.0.0.0/15"},
        {"cidr": "10.0.1.0/16"},
        {},
        {"vpc_id": "vpc-01234567"},
        {"cidr": "10.7.0.0/16", "subnet_id": "subnet-01234567"},
    )
    networks = {"cidr": None, "vpc_id": None, "subnet_id": None} | w.tape.pick(kinds)
    return _aws(w, "aws.cidr", lambda aws, _: aws.update(networks))


@contradiction("networks-overlap")
def aws_overlap(w: Whole) -> Reported:
    found = w.two(created)
    for site, cidr in zip(found, ("10.0.0.0/16", "10.0.255.0/24"), strict=True):
        w.sites[site]["aws"] |= {"cidr": cidr, "vpc_id": None, "subnet_id": None}
    return f"sites.{found[1]}.aws.cidr"


@contradiction("zone-not-in-region")
def aws_elsewhere(w: Whole) -> Reported:
    return _aws(w, "aws.availability_zone", lambda aws, _: aws.update(availability_zone="sa-east-1a"))


@contradiction("egress-without-https")
def aws_shut_in(w: Whole) -> Reported:
    return _aws(w, "aws.egress_ports", lambda aws, _: aws.update(egress_ports=[80]))


@contradiction("hosted-zone-mismatch")
def aws_no_zone(w: Whole) -> Reported:
    return _aws(w, "aws.hosted_zone", lambda aws, _: aws.update(hosted_zone="example.org"))


@contradiction("certificate-incomplete")
def aws_half_a_pair(w: Whole) -> Reported:
    key = w.tape.pick(("certificate", "private_key"))
    return _aws(w, f"aws.tls.{key}", lambda aws, _: aws["tls"].pop(key), _given)


@contradiction("certificate-expired", "certificate-invalid", "certificate-names-missing")
def aws_wrong_pair(w: Whole) -> Reported:
    def change(aws: Raw, site: Raw) -> None:
        names = sorted(hosts_of(site))
        other = pair("x.example.com")
        good = aws["tls"]
        aws["tls"] = w.tape.pick(
            (other, pair(*names, days=-1), {**good, "certificate": "-----BEGIN CERTIFICATE-----\nAAAA"})
        )

    return _aws(w, "aws.tls.certificate", change, _given)


@contradiction("certificate-key-invalid", "certificate-key-mismatch")
def aws_wrong_key(w: Whole) -> Reported:
    keys = (
        f"{SECRET}.x",
        pair("x.example.com")["private_key"],
        "-----BEGIN PRIVATE KEY-----\nAAAA\n-----END PRIVATE KEY-----\n",
    )
    return _aws(
        w, "aws.tls.private_key", lambda aws, _: aws["tls"].update(private_key=w.tape.pick(keys)), _given
    )


@contradiction("certificate-of-http-site")
def aws_tls_for_none(w: Whole) -> Reported:
    return _aws(
        w, "aws.tls", lambda aws, _: aws.update(tls={"letsencrypt_email": "a@b"}), lambda its: not _https(its)
    )


@contradiction("letsencrypt-blocked")
def aws_no_certificate(w: Whole) -> Reported:
    return _aws(
        w, "aws.client_cidrs", lambda aws, _: aws.update(client_cidrs=["198.51.100.0/24"]), _lets_encrypt
    )


@contradiction("certificate-missing-for-internal-url")
def aws_name_of_nobody(w: Whole) -> Reported:
    url = "https://gitlab.internal.example.com"
    return _aws(w, "aws.tls.certificate", lambda _, site: site.update(internal_url=url), _lets_encrypt)


@contradiction("https-on-http-site")
def aws_plain_registry(w: Whole) -> Reported:
    url = "https://registry.x.example.com"
    return _aws(w, "registry_url", lambda _, site: site.update(registry_url=url), lambda its: not _https(its))


@contradiction("address-of-created-host")
def aws_given_host(w: Whole) -> Reported:
    site = w.site(created)
    node, key = w.node(site), w.tape.pick(("host", "host_key"))
    w.sites[site]["nodes"][node][key] = {"host": "10.1.2.3", "host_key": HOST_KEYS[0]}[key]
    return f"sites.{site}.nodes.{node}.{key}"


@contradiction("peer-cidrs-of-created-site")
def aws_given_peers(w: Whole) -> Reported:
    return _aws(w, "peer_cidrs", lambda _, site: site.update(peer_cidrs=["203.0.113.20/32"]))


@contradiction("aws-on-existing-host")
def server_for_a_host(w: Whole) -> Reported:
    site = w.site(lambda its: not created(its))
    node = w.node(site)
    w.sites[site]["nodes"][node]["aws"] = {"volume_gb": 20}
    return f"sites.{site}.nodes.{node}.aws"


@contradiction("peer-cidrs-missing")
def peers_unknown(w: Whole) -> Reported:
    w.site(created)
    site = w.site(lambda its: not created(its))
    node = w.node(site)
    w.sites[site]["nodes"][node]["host"] = w.tape.pick(("some.example.com", "fd00:9::9"))
    w.sites[site]["peer_cidrs"] = []
    return f"sites.{site}.peer_cidrs"


@contradiction("trusted-certificates-invalid", "trusted-certificates-with-key")
def trusted_key(w: Whole) -> Reported:
    w.raw["trusted_certificates"] = w.tape.pick(
        ("x", pair("x.example.com")["private_key"], "".join(pair("x.example.com").values()))
    )
    return "trusted_certificates"
