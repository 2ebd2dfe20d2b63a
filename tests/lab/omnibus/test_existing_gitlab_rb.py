"""gitlab.rb files that people have: what the node's program and omnibus make of each, and what is refused beforehand."""

from __future__ import annotations

import json
import re
import subprocess
from pathlib import Path

import pytest

from hosts.programs import source
from plan.node import node_settings
from tests.configurations import SHARED, certificate, deployment
from tests.lab.omnibus.gitlab_tree import CONFIG_YML, GitLabTree
from tests.unit.test_node_messages import CERTIFICATE, END, KEY, ORDER, PATHS

GITLAB_RB = Path(__file__).parents[2] / "corpus/gitlab_rb"
SERVER_BLOCKS = "/var/opt/gitlab/nginx/conf/service_conf"
OURS = "/etc/gitlab/geo-registry"
DRIVER = """
require 'json'; require 'stringio'
$dir, verb = ARGV[1], ARGV[2]
eval(File.read(ARGV[0]), TOPLEVEL_BINDING, 'program')
# What omnibus' files name is below the test's folder as well.
def below(path) = path.start_with?($dir) ? path : $dir + path
read, yaml = Files.method(:read), Omnibus.method(:yaml)
Files.define_singleton_method(:read) { |path| read.call(below(path)) }
Omnibus.define_singleton_method(:yaml) { |path| yaml.call(below(path)) }
# Nobody answers: whether there are images cannot be asked.
Http.define_singleton_method(:call) { |*_, **_| [0, '', {}] }
order = JSON.parse($stdin.read)
main = Main.new(order)
main.instance_variable_set(:@state, {})
begin
  case verb
  when 'wanted' then puts JSON.generate(main.send(:desired_files).transform_values { |bytes| bytes.dup.force_encoding('UTF-8') })
  when 'rendered' then puts JSON.generate(Rendered.faults(order))
  when 'refuse'
    Storage.refuse_to_hide_images(order)
    PublicName.refuse_change(order)
    Conflicts.refuse(order, EvaluatedSettings.read(main.send(:desired_files)), order['secrets']['registry_certificate'])
  end
rescue Failure => e
  Report.failure(order, e)
end
"""


class Existing:
    """A node whose gitlab.rb somebody has written, below a folder of the test's own."""

    def __init__(self, host: GitLabTree, folder: Path) -> None:
        self.host, self.root = host, str(host.root)
        self.program = folder / "program.rb"
        self.program.write_text(PATHS.sub(f"{self.root}/", source().partition(END)[0]))
        self.deployment = deployment(SHARED)
        self.order = {
            **ORDER,
            "node": "london-1",
            "site": "london",
            "kind": "primary",
            "resource": "primary/london-1",
            "secrets": {**ORDER["secrets"], "http_secret": "h", "s3_access_key": "a", "s3_secret_key": "s"},
            "settings": node_settings(self.deployment, "london", "london-1").text.replace(
                OURS, self.root + OURS
            ),
            "secrets_file": f"{self.root}{OURS}/secrets.json",
            "read_only": False,
            "replication": False,
            "public": {
                "external_url": "https://gitlab.london.example.com",
                "registry_url": "https://registry.london.example.com",
                "api_url": None,
            },
        }

    def run(self, verb: str) -> str:
        """What the program prints, of both kinds."""
        done = subprocess.run(
            ["ruby", "-e", DRIVER, str(self.program), self.root, verb],
            input=json.dumps(self.order),
            capture_output=True,
            text=True,
            check=False,
        )
        assert done.returncode == 0, done.stderr
        return (done.stdout + done.stderr).replace(self.root, "").replace(self.root[1:], "")

    def before(self, name: str) -> None:
        """The administrator's own reconfigure."""
        self.host.reconfigure((GITLAB_RB / f"{name}.rb").read_text())

    def images(self, at: str, config: str, *names: str) -> None:
        """Images in the registry's folder, of which its configuration says that it is below the test's folder."""
        file = self.host.path(config)
        file.write_text(re.sub(rf'(?<="){re.escape(at)}', self.root + at, file.read_text()))
        for name in names:
            self.host.write(f"{at}/docker/registry/v2/repositories/{name}/_layers/x", "")

    def refused(self) -> str:
        """What `up` says before it touches anything; nothing where it goes on."""
        return self.run("refuse")

    def apply(self) -> list[str]:
        """This program's settings written and reconfigured; what is not in effect then."""
        for path, text in json.loads(self.run("wanted")).items():
            self.host.write(path, re.sub(r"(?<=')/etc/gitlab/geo-registry", self.root + OURS, text))
        self.host.reconfigure()
        found: list[str] = json.loads(self.run("rendered"))
        return found


@pytest.fixture
def existing(host: GitLabTree, tmp_path: Path) -> Existing:
    return Existing(host, tmp_path)


@pytest.mark.parametrize(
    "name",
    ["registry_off", "registry_off_by_environment", "former_addresses", "end_in_heredoc"],
)
def test_ours_is_in_effect(existing: Existing, name: str) -> None:
    """The registry runs, with the name, the realm and the API address of this stack."""
    existing.before(name)
    assert existing.refused() == ""
    assert existing.apply() == []
    rails, registry = existing.host.rails()["registry"], existing.host.registry()
    assert rails["enabled"] is True
    assert (rails["host"], rails["port"]) == ("registry.london.example.com", None)
    assert rails["api_url"] == "http://127.0.0.1:5000"
    assert registry["auth"]["token"]["realm"] == "https://gitlab.london.example.com/jwt/auth"
    assert "listen *:443 ssl;" in existing.host.read(f"{SERVER_BLOCKS}/gitlab-registry.conf")


def test_a_registry_directory_elsewhere_is_where_the_images_are_looked_for(existing: Existing) -> None:
    """public_attributes.json says where: a registry that holds images refuses to move, and one without is configured."""
    existing.before("registry_directory")
    existing.images("/srv/gitlab/images", "/srv/gitlab/registry/config.yml")
    assert existing.refused() == ""
    existing.images("/srv/gitlab/images", "/srv/gitlab/registry/config.yml", "group/app")
    said = existing.refused()
    assert "refused: its registry would move from filesystem" in said
    assert "the registry holds images" in said
    existing.order["data_moved"] = True
    assert existing.apply() == []
    assert "/srv/gitlab/registry" in existing.host.read("/opt/gitlab/sv/registry/run")


def test_a_key_path_is_honoured_and_a_bundle_must_have_the_certificate(existing: Existing) -> None:
    """omnibus writes the key there, and no file of certificates that gitlab.rb names."""
    existing.before("key_path")
    existing.order["data_moved"] = True
    said = existing.refused()
    assert (
        "refused: registry['rootcertbundle'] names a file without this stack's registry certificate" in said
    )
    assert "line 5 of /etc/gitlab/gitlab.rb names /etc/gitlab/registry-signing.crt" in said
    assert "remove that line" in said
    existing.host.write("/etc/gitlab/registry-signing.crt", certificate("other")["certificate"])
    assert "refused: registry['rootcertbundle']" in existing.refused()
    bundle = certificate("other")["certificate"] + CERTIFICATE
    existing.host.write("/etc/gitlab/registry-signing.crt", bundle)
    assert existing.refused() == ""
    assert existing.apply() == []
    assert existing.host.read("/etc/gitlab/registry-signing.key").strip() == KEY.strip()


def test_a_read_only_mode_left_at_the_primary_is_named(existing: Existing) -> None:
    """It may be of a garbage collection that runs: nobody ends it for the administrator."""
    existing.before("read_only_left")
    existing.order["data_moved"] = True
    said = existing.refused()
    assert "refused: registry['storage']['maintenance']['readonly'] is enabled at london" in said
    assert "line 6 of /etc/gitlab/gitlab.rb" in said
    assert "remove maintenance.readonly there" in said
    existing.order["read_only"] = True
    assert existing.refused() == ""


@pytest.mark.parametrize(
    ("more", "name"),
    [
        ("", "registry_nginx"),
        ("registry_external_url 'https://old.example.com:5050'\n", "registry_nginx"),
        ("registry['nginx'] = { listen_port: 5051 }\n", "registry['nginx']"),
        # A load balancer in front: the administrator has said so.
        ("registry_nginx['listen_https'] = false\n", None),
        ("registry['nginx']['listen_https'] = false\n", None),
        ("registry_external_url 'https://registry.london.example.com'\n", None),
        ("registry_nginx['enable'] = false\n", None),
        ("nginx['enable'] = false\n", None),
        ("registry_nginx['listen_port'] = '443'\n", None),
    ],
)
def test_a_port_that_nginx_alone_would_listen_on_is_named(
    existing: Existing, more: str, name: str | None
) -> None:
    """Unless it belongs to the same URL, or TLS ends elsewhere."""
    existing.host.gitlab_rb((GITLAB_RB / "former_port.rb").read_text() + more)
    said = existing.refused()
    if name is None:
        assert said == ""
        return
    assert f"refused: {name}['listen_port'] is not the port of registry_url" in said
    assert "line 3 of /etc/gitlab/gitlab.rb has 505" in said
    assert "`registry_external_url 'https://registry.london.example.com'` above it" in said


@pytest.mark.parametrize(
    ("more", "refused"),
    [("", True), ("registry_nginx['enable'] = false", False), ("nginx['enable'] = false", False)],
)
def test_an_address_without_a_host_stops_nginx_if_it_serves_the_registry(
    existing: Existing, more: str, refused: bool
) -> None:
    """nginx -t with what omnibus makes of it: no host in upstream ":5000"."""
    url = "external_url 'https://gitlab.london.example.com'\n"
    existing.host.gitlab_rb(f"{url}registry['registry_http_addr'] = ':5000'\n{more}\n")
    assert ("[registry-address-without-host]" in existing.refused()) == refused


def test_a_registry_that_omnibus_turned_on_by_itself_keeps_its_name_unless_confirmed(
    existing: Existing,
) -> None:
    """Beside Let's Encrypt it is at :5050 of GitLab's URL, and images are named by that."""
    existing.before("lets_encrypt")
    existing.order["data_moved"] = True
    assert existing.host.rails()["registry"]["port"] == 5050
    existing.images("/var/opt/gitlab/gitlab-rails/shared/registry", CONFIG_YML)
    moves = "london-1: the registry moves from gitlab.london.example.com:5050 to registry.london.example.com"
    assert existing.refused() == f"{moves}\n"
    existing.images("/var/opt/gitlab/gitlab-rails/shared/registry", CONFIG_YML, "group/app")
    said = existing.refused()
    assert (
        "refused: its registry would be at registry.london.example.com instead of gitlab.london.example.com:5050"
        in said
    )
    assert "the Linux package enables it there by default, together with Let's Encrypt" in said
    assert "sites.london.registry_url https://gitlab.london.example.com:5050" in said
    existing.order["registry_url_changes"] = True
    assert existing.refused() == ""
    del existing.order["registry_url_changes"]
    existing.order["public"] = {
        **existing.order["public"],
        "registry_url": "https://gitlab.london.example.com:5050",
    }
    assert existing.refused() == ""


def test_a_gitlab_rb_that_returns_early_is_found_before_it_is_used(existing: Existing) -> None:
    """Ruby evaluates nothing after it, the include at the end neither."""
    existing.before("return_early")
    existing.order["data_moved"] = existing.order["registry_url_changes"] = True
    assert "refused: /etc/gitlab/gitlab.rb ends before its last line" in existing.refused()
