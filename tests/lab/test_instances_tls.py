"""Certificates on created hosts: Let's Encrypt as omnibus uses it, and certificates that are provided."""

from __future__ import annotations

import ssl
import subprocess

import pytest
from cryptography import x509

from lab.cloud.instance import Instance
from lab.services import listening, wait_for
from tests.lab.account import EVERYBODY, SSH, Account, Network, allow

GITLAB, REGISTRY = "gitlab.london.example.com", "registry.london.example.com"
PORTS = [allow("tcp", port, EVERYBODY) for port in (443, 5050)]
HTTP = allow("tcp", 80, EVERYBODY)


@pytest.fixture(scope="module")
def network(account: Account) -> Network:
    return account.network()


@pytest.fixture(scope="module")
def group(account: Account, network: Network) -> str:
    """Everything that a site needs but port 80."""
    return account.group(network, "site", SSH, *PORTS)


@pytest.fixture(scope="module")
def host(account: Account, network: Network, group: str) -> Instance:
    account.launch(network, "london", group)
    made = account.host("london")
    made.wait_ready()
    return made


@pytest.fixture
def image(host: Instance) -> Instance:
    """The host with the gitlab.rb and the certificates of its image."""
    host.run("rm -rf /etc/gitlab/ssl /etc/gitlab/gitlab-secrets.json; mkdir -p /etc/gitlab/ssl")
    host.write("/etc/gitlab/gitlab.rb", "")
    return host


def record(account: Account, action: str, name: str, address: str) -> None:
    """Change an A record of the account's zone."""
    route53 = account.lab.route53()
    zone = route53.list_hosted_zones_by_name(DNSName="example.com")["HostedZones"][0]["Id"]
    records = {"Name": name, "Type": "A", "TTL": 60, "ResourceRecords": [{"Value": address}]}
    changes = {"Changes": [{"Action": action, "ResourceRecordSet": records}]}
    route53.change_resource_record_sets(HostedZoneId=zone, ChangeBatch=changes)
    account.lab.instances()


@pytest.fixture(scope="module")
def names(account: Account, host: Instance) -> None:
    for name in (GITLAB, REGISTRY):
        record(account, "UPSERT", name, host.address)


@pytest.fixture
def port_80(account: Account, group: str) -> None:
    """Open from now on."""
    opened = account.ec2.describe_security_groups(GroupIds=[group])["SecurityGroups"][0]["IpPermissions"]
    if not any(rule.get("FromPort") == 80 for rule in opened):
        account.ec2.authorize_security_group_ingress(GroupId=group, IpPermissions=[HTTP])
        account.lab.instances()


def reconfigure(host: Instance, text: str) -> subprocess.CompletedProcess[str]:
    """Reconfigure with this gitlab.rb."""
    host.write("/etc/gitlab/gitlab.rb", text)
    return host.run("gitlab-ctl reconfigure", check=False)


def shown(name: str, port: int = 443) -> x509.Certificate:
    """The certificate that a server shows, whether it is trusted or not."""
    wait_for(lambda: listening(name, port), f"{name}:{port}", 10)
    return x509.load_pem_x509_certificate(ssl.get_server_certificate((name, port), timeout=10).encode())


def answers(account: Account, url: str, status: int) -> None:
    """Soon: runsv starts nothing twice within a second, and a reconfigure may have restarted nginx."""
    account.lab.wait(lambda: account.lab.http_status(url) == status, 10, f"{status} from {url}")


def names_of(certificate: x509.Certificate) -> list[str]:
    extension = certificate.extensions.get_extension_for_class(x509.SubjectAlternativeName)
    return extension.value.get_values_for_type(x509.DNSName)


def test_no_certificate_while_port_80_is_closed(image: Instance, names: None) -> None:
    """The reconfigure fails as the real one; what stays is a self-signed certificate, and by default for good."""
    text = f"external_url 'https://{GITLAB}'\n"
    done = reconfigure(image, text)
    assert done.returncode == 1
    assert f"letsencrypt_certificate[{GITLAB}] (letsencrypt::http_authorization" in done.stdout
    assert "Validation failed, unable to request certificate" in done.stdout
    assert "Timeout during connect (likely firewall problem)" in done.stdout
    certificate = shown(GITLAB)
    assert certificate.issuer == certificate.subject
    # Nobody switched it on: the file that the attempt has left keeps it off.
    assert reconfigure(image, text).returncode == 0
    assert reconfigure(image, text + "letsencrypt['enable'] = true\n").returncode == 1


def test_no_certificate_for_a_name_that_is_not_ours(account: Account, image: Instance, port_80: None) -> None:
    """One of all names is enough to fail."""
    text = f"external_url 'https://{GITLAB}'\nregistry_external_url 'https://registry.nowhere.example.com'\n"
    done = reconfigure(image, text)
    assert done.returncode == 1
    assert "DNS problem: NXDOMAIN looking up A for registry.nowhere.example.com" in done.stdout


def test_one_certificate_for_both_names(
    account: Account, image: Instance, names: None, port_80: None
) -> None:
    """It is trusted, lasts, and is not asked for again; plain HTTP is sent to HTTPS."""
    text = f"external_url 'https://{GITLAB}'\nregistry_external_url 'https://{REGISTRY}'\n"
    done = reconfigure(image, text)
    assert done.returncode == 0, done.stdout
    assert sorted(names_of(shown(GITLAB))) == [GITLAB, REGISTRY]
    image.wait_ready()
    answers(account, f"https://{GITLAB}/-/readiness", 200)
    answers(account, f"https://{REGISTRY}/v2/", 401)
    answers(account, f"http://{GITLAB}/", 301)
    answers(account, f"http://{REGISTRY}/", 301)
    serial = shown(REGISTRY).serial_number
    assert reconfigure(image, text).returncode == 0
    assert shown(REGISTRY).serial_number == serial


def test_a_certificate_in_the_second_in_which_nginx_started(
    image: Instance, names: None, port_80: None
) -> None:
    """As right after a boot. sv tells seconds only: it takes the nginx that is to end for the new one."""
    assert reconfigure(image, f"external_url 'https://{GITLAB}'\n").returncode == 0
    second = "sleep 1.2; while [ $(date +%1N) != 0 ]; do sleep 0.01; done"
    started = f"{second}; sv restart /opt/gitlab/service/nginx"
    done = image.run(f"{started} && rm /etc/gitlab/ssl/* && gitlab-ctl reconfigure", check=False)
    assert done.returncode == 0, done.stdout
    assert names_of(shown(GITLAB)) == [GITLAB]
