"""What the lab's gitlab-ctl makes of the registry's settings: files, derivations, refusals."""

from __future__ import annotations

import json

import pytest
import yaml

from tests.lab.omnibus.gitlab_tree import (
    CERTIFICATE,
    CONFIG_YML,
    ELSEWHERE,
    GITLAB_YML,
    KEY,
    SITE,
    GitLabTree,
)

SERVER_BLOCKS = "/var/opt/gitlab/nginx/conf/service_conf"

# -- addresses


def test_what_follows_from_registry_external_url(host: GitLabTree) -> None:
    """Registry and Rails are switched on and know of each other; storage is a directory of GitLab's."""
    host.reconfigure()
    config = host.registry()
    assert config["http"]["addr"] == "127.0.0.1:5000"
    assert config["auth"]["token"] == {
        "realm": "https://gitlab.london.example.com/jwt/auth",
        "service": "container_registry",
        "issuer": "omnibus-gitlab-issuer",
        "rootcertbundle": CERTIFICATE,
        "autoredirect": False,
    }
    assert config["storage"] == {
        "filesystem": {"rootdirectory": "/var/opt/gitlab/gitlab-rails/shared/registry"},
        "cache": {"blobdescriptor": "inmemory"},
        "delete": {"enabled": True},
    }
    assert host.rails()["registry"] == {
        "enabled": True,
        "host": "registry.london.example.com",
        "port": None,
        "api_url": "http://127.0.0.1:5000",
        "path": "/var/opt/gitlab/gitlab-rails/shared/registry",
        "key": KEY,
        "issuer": "omnibus-gitlab-issuer",
        "notification_secret": None,
    }
    modes = {
        path: host.path(path).stat().st_mode & 0o7777
        for path in (CONFIG_YML, "/var/opt/gitlab/registry", GITLAB_YML)
    }
    assert modes == {CONFIG_YML: 0o644, "/var/opt/gitlab/registry": 0o2770, GITLAB_YML: 0o640}


@pytest.mark.parametrize(
    ("url", "said"),
    [
        ("https://registry.london.example.com/path", "Unsupported GitLab Registry external URL path: /path"),
        ("ftp://registry.london.example.com", "Unsupported GitLab Registry external URL scheme: ftp"),
        ("registry.london.example.com", "must include a schema and FQDN"),
    ],
)
def test_a_registry_external_url_that_is_refused(host: GitLabTree, url: str, said: str) -> None:
    """One with a slash at the end is not."""
    assert said in host.fails(
        f"external_url 'https://gitlab.london.example.com'\nregistry_external_url '{url}'"
    )
    host.reconfigure(SITE.replace("registry.london.example.com", "registry.london.example.com/"))


def test_a_port_of_its_own_and_plain_http(host: GitLabTree) -> None:
    """Only a port that is not the usual one reaches Rails; nginx listens on it."""
    host.reconfigure(
        SITE.replace("https://registry.london.example.com", "http://registry.london.example.com:5050")
    )
    assert host.rails()["registry"]["port"] == 5050
    nginx = host.read(f"{SERVER_BLOCKS}/gitlab-registry.conf")
    assert "listen *:5050;" in nginx
    assert "ssl_certificate" not in nginx


def test_nginx_serves_both_urls_with_the_certificates_of_their_hosts(host: GitLabTree) -> None:
    """Real nginx configuration, from /etc/gitlab/ssl."""
    host.reconfigure()
    for name, host_name, upstream in (
        ("rails", "gitlab.london.example.com", "127.0.0.1:8080"),
        ("registry", "registry.london.example.com", "127.0.0.1:5000"),
    ):
        nginx = host.read(f"{SERVER_BLOCKS}/gitlab-{name}.conf")
        assert f"ssl_certificate_key /etc/gitlab/ssl/{host_name}.key;" in nginx
        assert f"proxy_pass http://{upstream};" in nginx


def test_tls_may_end_in_front_of_nginx(host: GitLabTree) -> None:
    """`listen_https = false`: no certificate is named, and Rails still has https."""
    host.reconfigure(f"{SITE}registry_nginx['listen_https'] = false\nregistry_nginx['listen_port'] = 80\n")
    nginx = host.read(f"{SERVER_BLOCKS}/gitlab-registry.conf")
    assert "listen *:80;" in nginx and "ssl_certificate" not in nginx
    assert "X-Forwarded-Proto https" in nginx
    assert "ssl_certificate " in host.read(f"{SERVER_BLOCKS}/gitlab-rails.conf")


def test_the_registry_may_have_no_server_block(host: GitLabTree) -> None:
    """Somebody else's web server is in front of it."""
    host.reconfigure()
    host.reconfigure(f"{SITE}registry_nginx['enable'] = false\n")
    assert not host.exists(f"{SERVER_BLOCKS}/gitlab-registry.conf")
    assert "restart nginx" in host.commanded()


def test_server_blocks_move_with_an_upgrade(host: GitLabTree) -> None:
    """Beside nginx.conf before 18.5; what is left there is read no more and taken away."""
    host.install("18.4.0")
    host.reconfigure()
    conf = "/var/opt/gitlab/nginx/conf"
    assert host.exists(f"{conf}/gitlab-http.conf") and not host.exists(SERVER_BLOCKS)
    host.install("18.5.0")
    host.reconfigure()
    assert not host.exists(f"{conf}/gitlab-http.conf")
    assert "service_conf/gitlab-*.conf" in host.read(f"{conf}/nginx.conf")


def test_a_registry_without_an_external_url_gets_an_empty_address(host: GitLabTree) -> None:
    """Exit 0: address and realm must be stated on a node of its own."""
    host.reconfigure("external_url 'https://gitlab.london.example.com'\nregistry['enable'] = true")
    assert host.registry()["http"]["addr"] is None
    assert host.registry()["auth"]["token"]["realm"] == "/jwt/auth"


def test_rails_with_the_registry_elsewhere_must_be_told_so(host: GitLabTree) -> None:
    """`registry_external_url` alone writes no key there; the four settings do, and no registry starts."""
    host.reconfigure(SITE + "registry['enable'] = false")
    assert not host.exists(KEY)
    host.reconfigure(ELSEWHERE)
    assert host.read(KEY) == host.secrets()["registry"]["internal_key"]
    assert host.rails()["registry"]["api_url"] == "https://registry.london.example.com"
    assert not host.exists(CONFIG_YML)
    assert not any("registry" in line for line in host.commanded())


def test_the_key_is_written_only_where_rails_has_its_registry_enabled(host: GitLabTree) -> None:
    """A registry alone has the certificate only."""
    host.reconfigure(
        "registry['enable'] = true\nregistry['registry_http_addr'] = '0.0.0.0:5000'\n"
        "registry['token_realm'] = 'https://gitlab.london.example.com'"
    )
    assert host.exists(CERTIFICATE)
    assert not host.exists(KEY)
    assert host.registry()["auth"]["token"]["realm"] == "https://gitlab.london.example.com/jwt/auth"


def test_the_registrys_directory_is_where_gitlab_rb_says(host: GitLabTree) -> None:
    """Its service starts there, and a file that everybody may read says where; a failed run does not change that."""
    public = "/var/opt/gitlab/public_attributes.json"
    host.reconfigure()
    assert json.loads(host.read(public))["registry"]["dir"] == "/var/opt/gitlab/registry"
    host.reconfigure(SITE + "registry['dir'] = '/srv/registry'")
    config = yaml.safe_load(host.read("/srv/registry/config.yml"))
    assert config["auth"]["token"]["rootcertbundle"] == "/srv/registry/gitlab-registry.crt"
    assert (
        host.read("/srv/registry/gitlab-registry.crt") == host.secrets()["registry"]["internal_certificate"]
    )
    assert "cd /srv/registry && " in host.read("/opt/gitlab/sv/registry/run")
    assert json.loads(host.read(public))["registry"]["dir"] == "/srv/registry"
    host.fails(SITE + "regsitry['dir'] = '/elsewhere'")
    assert json.loads(host.read(public))["registry"]["dir"] == "/srv/registry"


def test_keys_and_certificates_elsewhere(host: GitLabTree) -> None:
    """The key is written where gitlab.rb says; a bundle that it names is the administrator's own file."""
    paths = (
        "gitlab_rails['registry_key_path'] = '/etc/gitlab/a.key'\n"
        "registry['rootcertbundle'] = '/etc/gitlab/a.crt'\n"
    )
    host.reconfigure(SITE + paths)
    assert host.read("/etc/gitlab/a.key") == host.secrets()["registry"]["internal_key"]
    assert host.rails()["registry"]["key"] == "/etc/gitlab/a.key"
    assert host.registry()["auth"]["token"]["rootcertbundle"] == "/etc/gitlab/a.crt"
    assert not host.exists("/etc/gitlab/a.crt")


def test_a_failed_run_prints_as_chef_and_omnibus_do(host: GitLabTree) -> None:
    """The exception's message alone between headline and end, then which settings were removed."""
    said = host.fails(SITE + "git_data_dirs({ 'default' => { 'path' => '/x' } })")
    _, _, after = said.partition("There was an error running gitlab-ctl reconfigure:\n\n")
    lines = after.partition("Running handlers complete")[0].split("\n")
    assert lines[0] == "Removed configurations found in gitlab.rb. Aborting reconfigure."
    assert lines[3] == "Removals:" and lines[4].startswith("* git_data_dirs was removed in 18.0")
    assert "FATAL: RuntimeError: Removed configurations" in said


def test_the_issuer_is_one_setting_of_rails_for_both(host: GitLabTree) -> None:
    """registry['issuer'] alone changes nothing."""
    host.reconfigure(SITE + "registry['issuer'] = 'a'\ngitlab_rails['registry_issuer'] = 'b'")
    assert (host.registry()["auth"]["token"]["issuer"], host.rails()["registry"]["issuer"]) == ("b", "b")
    host.reconfigure(SITE + "registry['issuer'] = 'a'")
    assert host.registry()["auth"]["token"]["issuer"] == "omnibus-gitlab-issuer"


# -- storage


def test_two_drivers_pass(host: GitLabTree) -> None:
    """It is the registry that refuses to start."""
    host.reconfigure(SITE + "registry['storage'] = { 's3_v2' => { 'bucket' => 'b' }, 'filesystem' => {} }")
    assert {"s3_v2", "filesystem"} <= set(host.registry()["storage"])


def test_what_is_stated_of_storage_stays(host: GitLabTree) -> None:
    """Read-only mode, no redirects, deletion off; only what is missing is added."""
    host.reconfigure(
        SITE
        + "registry['storage_delete_enabled'] = false\nregistry['storage'] = { 's3_v2' => { 'bucket' => 'b' },"
        " 'maintenance' => { 'readonly' => { 'enabled' => true } }, 'redirect' => { 'disable' => true } }"
    )
    assert host.registry()["storage"] == {
        "s3_v2": {"bucket": "b"},
        "maintenance": {"readonly": {"enabled": True}},
        "redirect": {"disable": True},
        "cache": {"blobdescriptor": "inmemory"},
        "delete": {"enabled": False},
    }


def test_a_node_without_rails_has_only_the_registry(host: GitLabTree) -> None:
    """`gitlab_rails['enable'] = false`: no signing key, no gitlab.yml, nothing of GitLab's in nginx."""
    alone = "gitlab_rails['enable'] = false\nregistry_external_url 'http://registry.london.example.com'\n"
    conf = SERVER_BLOCKS
    host.reconfigure(alone + "registry['token_realm'] = 'https://gitlab.london.example.com'\n")
    assert not host.path(KEY).exists()
    assert not host.path(GITLAB_YML).exists()
    assert [file.name for file in sorted(host.path(conf).glob("gitlab-*"))] == ["gitlab-registry.conf"]
    assert host.registry()["auth"]["token"]["realm"] == "https://gitlab.london.example.com/jwt/auth"
    host.reconfigure(SITE)
    assert host.path(KEY).exists()
    assert host.path(f"{conf}/gitlab-rails.conf").exists()
    host.reconfigure(SITE + "gitlab_rails['enable'] = false\n")
    assert not host.path(f"{conf}/gitlab-rails.conf").exists()
