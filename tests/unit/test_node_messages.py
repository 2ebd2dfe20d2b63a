"""Each thing that the program on a node can refuse or fail with: told with cause, state and what to do."""

from __future__ import annotations

import json
import re
import subprocess
from collections.abc import Iterator
from dataclasses import dataclass
from functools import reduce
from pathlib import Path
from typing import Any

import pytest
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric import rsa

from components.node_program import SCRIPTS, source
from tests.configurations import certificate

pytestmark = pytest.mark.unit

END = "# The engine may be killed"
PATHS = re.compile(r"(?<=['\"])/(?=(etc|opt|var/opt|var/log|run)/)")
DRIVER = """
require 'json'; require 'stringio'
$dir = ARGV[1]
eval(File.read(ARGV[0]), TOPLEVEL_BINDING, 'program')
# Nobody waits, nothing is asked and nothing is run but what a case says.
$now = 0.0
Omnibus.define_singleton_method(:now) { $now }
Kernel.module_eval { private def sleep(seconds) = $now += seconds }
Timeout.define_singleton_method(:timeout) { |*_, &block| block.call } # older ones sleep themselves
Http.define_singleton_method(:call) { |method, url, headers: {}, **_| $answer.call(method, url, headers['Authorization'].to_s) }
$run = Omnibus.method(:run)
Omnibus.define_singleton_method(:run) { |command, _| [false, "FATAL: #{command.last} is not permitted"] }
def stub(kind, name, &block)
  own = kind.method(name)
  kind.define_singleton_method(name, &block)
  $undo << -> { kind.define_singleton_method(name, own) }
end
def put(path, text) = (FileUtils.mkdir_p(File.dirname("#{$dir}#{path}")); File.write("#{$dir}#{path}", text))
def proof(more = {}) = Proof.new($order.merge(more), agreed: true)
def main(more = {}) = Main.new($order.merge(more)).tap { |m| m.instance_variable_set(:@state, more['state'] || {}) }
def unreached(error) = $answer = ->(_, url, _) { why = Unreached.of(error, URI(url), 15); [0, why.text, why] }
def answers(code, body = '') = $answer = ->(*_) { [code, body, {}] }
$stdout.sync = true
while (line = $stdin.gets)
  code, $order = JSON.parse(line)
  FileUtils.rm_rf(Dir.glob("#{$dir}/*"))
  $undo = []
  $stderr = StringIO.new
  failure = begin; eval(code); nil; rescue StandardError => e; Failure.from(e); end
  $stderr = StringIO.new if failure
  Report.failure($order, failure) if failure
  puts JSON.generate($stderr.string)
  $stderr = STDERR
  $undo.each(&:call)
end
"""


def pair() -> tuple[str, str]:
    """A registry key in the form that omnibus writes, and some certificate."""
    key = rsa.generate_private_key(65537, 2048)
    form = serialization.PrivateFormat.TraditionalOpenSSL
    pem = key.private_bytes(serialization.Encoding.PEM, form, serialization.NoEncryption())
    return pem.decode(), certificate("registry")["certificate"]


KEY, CERTIFICATE = pair()
SERVED = certificate("registry")
ORDER: dict[str, Any] = {
    "node": "tokyo-1",
    "site": "tokyo",
    "kind": "secondary",
    "roles": ["rails", "sidekiq", "registry"],
    "owner": "acme/prod",
    "issuer": "omnibus-gitlab-issuer",
    "registry_url": "https://registry.tokyo.example.com",
    "registry_kind": "omnibus",
    "public": {
        "external_url": "https://gitlab.tokyo.example.com",
        "registry_url": "https://registry.tokyo.example.com",
        "api_url": None,
    },
    "primary": {
        "site": "london",
        "external_url": "https://gitlab.london.example.com",
        "registry_url": "https://registry.london.example.com",
        "registry_kind": "omnibus",
    },
    "secrets": {"registry_key": KEY, "registry_certificate": CERTIFICATE, "notification_secret": "s3cr3t-value"},
    "files": {},
    "settings": "",
    "reconfigure_seconds": 60,
    "storage": {
        "driver": "s3", "place": [None, "acme", ""], "shown": "s3://acme", "bucket": "acme", "region": "eu-west-1",
        "access_key": "AKIAEXAMPLE", "secret_key": "s3cr3t-value", "patience": 5, "write": False,
    },
}  # fmt: skip
DISK = {"filesystem": {"rootdirectory": "DIR/images"}}
HOLDS = "put('/images/docker/registry/v2/repositories/acme/x', '')"
RIGHTS = "Storage.rights($order)"
LOCKS = "LockFiles.new($order).prove"


def configured(**more: Any) -> str:
    """A config.yml of the node's registry."""
    text = json.dumps({"storage": DISK, "http": {"addr": ":5000"}, **more})
    return f"put('/var/opt/gitlab/registry/config.yml', {json.dumps(text)}.gsub('DIR', $dir))"


def rails(**registry: Any) -> str:
    """A gitlab.yml that has the registry at GitLab's own name."""
    host = "gitlab.tokyo.example.com"
    text = json.dumps(
        {"production": {"gitlab": {"host": host}, "registry": {"enabled": True, "host": host, **registry}}}
    )
    return f"put('/var/opt/gitlab/gitlab-rails/etc/gitlab.yml', {json.dumps(text)})"


READ_ONLY = "registry['storage'] = { 'maintenance' => { 'readonly' => { 'enabled' => true } } }"


def refused(line: str) -> str:
    """What is found beforehand in a gitlab.rb with this as its second line."""
    ours = "registry['enable'] = true; gitlab_rails['registry_issuer'] = 'omnibus-gitlab-issuer'"
    return (
        f"put('/etc/gitlab/gitlab.rb', {json.dumps(f'x = 1{chr(10)}{line}{chr(10)}')}.gsub(\"'/etc/own\", \"'#{{$dir}}/etc/own\")); "
        f"m = main('settings' => {json.dumps(ours)}); "
        "stub(Omnibus, :now) { Process.clock_gettime(Process::CLOCK_MONOTONIC) }; $stderr = STDERR; settings = Settings.read(m.send(:wanted)); $stderr = StringIO.new; "
        "Conflicts.refuse($order.merge('settings' => ''), settings, $order['secrets']['registry_certificate'])"
    )


@dataclass(frozen=True)
class Case:
    """What happens on the node, and what of cause and remedy is told."""

    what: str
    code: str
    parts: tuple[str, ...]
    state: str = "nothing was changed on this node"


CHANGE = (
    "put('/etc/gitlab/gitlab.rb', \"external_url 'x'\\n\"); put('/etc/gitlab/geo-registry/x', ''); "
    "main.send(:change, { \"#{$dir}/etc/gitlab/gitlab.rb\" => 'new' }, restart: false) { raise IOError, 'chosen' }"
)
BACK = "the former settings are"
TLS = "stub(Settings, :read) { |_| Settings.new('all' => { 'external_url' => 'http://x', 'registry_external_url' => 'https://registry.tokyo.example.com', 'letsencrypt.enable' => false }) }"
PAIR = f"put('/etc/gitlab/ssl/registry.tokyo.example.com.crt', {json.dumps(SERVED['certificate'])}); put('/etc/gitlab/ssl/registry.tokyo.example.com.key', {json.dumps(SERVED['private_key'])})"
NGINX = (
    "put('/opt/gitlab/service/nginx', ''); put('/var/log/gitlab/nginx/current', ''); "
    "put('/var/opt/gitlab/nginx/conf/gitlab-http.conf', 'server { listen *:443 ssl; server_name gitlab.tokyo.example.com; }'); "
    "$seen = [[2, '200', nil]]; stub(OwnNginx, :new) { |o, **more| OwnNginx.allocate.tap { |n| n.define_singleton_method(:ask) { |_| OwnNginx::Seen.new(*($seen.size > 1 ? $seen.shift : $seen.first)) }; n.send(:initialize, o, **more) } }; "
)
LOOK = "Certificates.check($order, {})"
CASES = [
    Case("a file could not be written", "raise Errno::ENOSPC, '/etc/gitlab/gitlab.rb'", ("No space left", "make room")),
    Case("a file could not be written", "raise Errno::EROFS, '/etc/gitlab/gitlab.rb'", ("Read-only file system", "make it writable for root")),
    Case("the program stopped", "Integer('x')", ("ArgumentError", "report this")),
    Case("gitlab-ctl reconfigure failed", "Omnibus.reconfigure($order)", ("FATAL: reconfigure is not permitted", "/var/log/gitlab/reconfigure")),
    Case("gitlab-ctl restart registry failed", "Omnibus.restart($order, 'registry')", ("FATAL: registry", "gitlab-ctl tail registry")),
    Case("gitlab-ctl hup nginx failed", "Omnibus.hup('nginx')", ("FATAL: nginx", "gitlab-ctl tail nginx")),
    Case("DIR/etc/gitlab/gitlab-secrets.json is not JSON", "put('/etc/gitlab/gitlab-secrets.json', '{'); Omnibus.secrets", ("backup-etc",)),
    Case("DIR/var/opt/gitlab/registry/config.yml is not YAML", "put('/var/opt/gitlab/registry/config.yml', \"http:\\n  addr: [::]:5000\\n\"); Omnibus.registry_config", ("without quotes", "correct gitlab.rb")),
    Case("refused: its registry's metadata database would be switched on", f"{HOLDS}; {configured()}; Storage.refuse_to_hide_images('database' => {{}})", ("holds images", "registry-database import")),
    Case("refused: its registry's metadata database would be switched off", f"{HOLDS}; {configured(database={'enabled': True})}; Storage.refuse_to_hide_images('storage' => nil)", ("are in that database", "skopeo sync")),
    Case("refused: its registry would move from filesystem DIR/images to s3://acme", f"{HOLDS}; {configured()}; Storage.refuse_to_hide_images($order)", ("the registry holds images", "data_moved true")),
    Case("refused: its registry would move from s3 acme-old to s3://acme", f"{configured(storage={'s3': {'bucket': 'acme-old'}})}; Storage.refuse_to_hide_images($order)", ("could not be asked whether it holds images", "copy the images")),
    Case("refused: the directory /srv/registry is not on this server's own disk", "stub(Storage, :directory) { |at| ['nfs:/export', at] }; Storage.disk($order, 'place' => ['srv/registry'])", ("it is on nfs:/export", "sites.tokyo.storage")),
    Case("the server has no credentials of its own", "answers(404, 'Not Found'); $order['storage'].delete('access_key'); " + RIGHTS, ("404 Not Found", "instance profile")),
    Case("the proof failed: this secondary could change the shared storage", "answers(200); " + RIGHTS, ("put an object in s3://acme", "answered 200, not 403", "IAM policy")),
    Case("the proof failed: the storage does not answer to this site's key", "answers(403, '<Code>AccessDenied</Code>'); " + RIGHTS, ("403 AccessDenied", "sites.tokyo.s3_keys")),
    Case("the proof failed: the storage does not answer this node", "unreached(SocketError.new('getaddrinfo: Name or service not known')); " + RIGHTS, ("read s3://acme with the key of tokyo: the name acme.s3.eu-west-1.amazonaws.com does not resolve", "let acme.s3.eu-west-1.amazonaws.com resolve on this node")),
    Case("refused: its registry would not start again", "answers(404); " + LOCKS, ("s3://acme/docker/registry/lockfiles/filesystem-in-use is missing", "pulumi config set proof", "printf '{\"version\":1}' | aws s3 cp - s3://acme/docker/registry/lockfiles/filesystem-in-use")),
    Case("refused: a registry with a metadata database uses this storage", "answers(200); " + LOCKS, ("s3://acme/docker/registry/lockfiles/database-in-use is there", "registry metadata database in use, please enable the database", "metadata_database")),
    Case("refused: the metadata of the images are not in the metadata database", "answers(200); $order['database'] = {}; " + LOCKS, ("s3://acme/docker/registry/lockfiles/filesystem-in-use is there", "please import data", "registry-database import")),
    Case("the proof failed: the storage does not answer to this site's key", "$answer = ->(method, *_) { method == 'HEAD' ? [404, '', {}] : [403, '<Code>AccessDenied</Code>', {}] }; main.send(:lock_file)", ("put docker/registry/lockfiles/filesystem-in-use in s3://acme", "403 AccessDenied")),
    Case("the proof failed: the settings have no effect", "proof.send(:check_rendered)", ("holds another key", "comes after the include of")),
    Case("the proof failed: the registry of tokyo does not accept its own token", f"{configured()}; answers(502, 'Bad Gateway'); proof.send(:own_registry)", ("http://127.0.0.1:5000 answered 502 Bad Gateway", "gitlab-ctl tail registry")),
    Case("the proof failed: GitLab does not accept the registry's notifications", "answers(401); proof.send(:notifications)", ("was answered 401", "registry_notification_secret")),
    Case("the proof failed: GitLab accepts notifications with any secret", "answers(202); proof.send(:notifications)", ("a wrong secret was answered 202, not 401", "let it through to Rails")),
    Case("the proof failed: london's registry refuses a token signed with this stack's key", "answers(401, 'UNAUTHORIZED'); proof.send(:primarys_registry)", ("or its issuer is not omnibus-gitlab-issuer", "pulumi config set proof")),
    Case("the proof failed: london's registry cannot be reached from here", "unreached(Errno::EHOSTUNREACH.new); proof.send(:primarys_registry)", ("there is no route to registry.london.example.com", "correct routing or firewall")),
    Case("the proof failed: london's registry cannot be reached from here", "answers(502, 'Bad Gateway'); proof.send(:primarys_registry)", ("502 Bad Gateway", "is it a proxy that answers?")),
    Case("the proof failed: the registry of tokyo does not accept its own token", f"{configured()}; unreached(Errno::ECONNREFUSED.new); proof.send(:own_registry)", ("127.0.0.1:5000 refuses the connection: nothing listens there", "gitlab-ctl tail registry")),
    Case("the proof failed: GitLab does not accept the registry's notifications", "unreached(Net::OpenTimeout.new); proof.send(:notifications)", ("not at all: gitlab.london.example.com:443 did not answer within 15 s", "let this node reach gitlab.london.example.com:443")),
    Case("the server has no credentials of its own", "unreached(Net::OpenTimeout.new); $order['storage'].delete('access_key'); " + RIGHTS, ("the instance metadata service cannot be asked: 169.254.169.254:80 did not answer", "instance profile")),
    Case("the proof failed: london's registry accepts a forged token", "answers(404, 'NAME_UNKNOWN'); proof.send(:primarys_registry)", ("was answered 404, not 401", "bypassed at https://registry.london.example.com")),
    Case("the proof failed: london's registry lets a pull-only token push", "$asked = 0; $answer = ->(method, *_) { method == 'post' ? [202, '', {}] : [($asked += 1) == 1 ? 404 : 401, 'NAME_UNKNOWN', {}] }; proof.send(:primarys_registry)", ("was answered 202, not 401", "mend it on london")),
    Case("the proof failed: the registry of this secondary accepts pushes", f"{configured()}; answers(202); proof.send(:read_only)", ("answered 202, not 405", "later registry['storage']")),
    Case("refused: registry['storage']['maintenance']['readonly'] is on at tokyo", refused(READ_ONLY), ("line 2 of DIR/etc/gitlab/gitlab.rb has it", "remove maintenance.readonly there")),
    Case("refused: registry['storage']['maintenance']['readonly'] is on at tokyo", f"put('/etc/own.rb', {READ_ONLY!r}); " + refused("from_file '/etc/own.rb'"), ("DIR/etc/gitlab/gitlab.rb, or a file that it includes, has it",)),
    Case("refused: registry['registry_http_addr'] is an IPv6 address", refused("registry['registry_http_addr'] = '[::]:5000'"), ("line 2 of DIR/etc/gitlab/gitlab.rb has [::]:5000", "write ':5000' there")),
    Case("refused: registry_nginx['listen_port'] is not the port of registry_url", refused("registry_nginx['listen_port'] = 5050"), ("line 2 of DIR/etc/gitlab/gitlab.rb has 5050", "if a load balancer passes")),
    Case("refused: registry['rootcertbundle'] names a file without this stack's registry certificate", refused("registry['rootcertbundle'] = '/etc/gitlab/own.crt'"), ("line 2 of DIR/etc/gitlab/gitlab.rb names /etc/gitlab/own.crt", "remove that line")),
    Case("refused: DIR/etc/gitlab/gitlab.rb ends before its last line", refused("return"), ("does not come to the include", "look there for `return`")),
    Case("refused: its registry would be at registry.tokyo.example.com instead of gitlab.tokyo.example.com:5050", f"{HOLDS}; {configured()}; {rails(port=5050)}; PublicName.refuse_change($order)", ("omnibus turns it on there by itself", "registry_url_changes true")),
    Case("refused: its registry would be at registry.tokyo.example.com instead of gitlab.tokyo.example.com:4567", f"{rails(port=4567)}; PublicName.refuse_change($order)", ("is at gitlab.tokyo.example.com:4567 now and holds images, or could not be asked",)),
    Case("no omnibus GitLab on this node", "main.run(:apply)", ("gitlab.rb is missing", "the GitLab node tokyo-1")),
    Case("another run of this program is still at work on this node", "put('/run/x', ''); held = File.open(Main::LOCK, 'w').tap { |f| f.flock(File::LOCK_EX) }; main.send(:locked) { }", ("gitlab-geo-registry.lock is held", "wait for it to end")),
    Case("no registry key pair to take over", "main.send(:adopt)", ("has no matching internal_key", "set registry_external_url")),
    Case("the registry key in use is not the one that the next reconfigure would write", "stub(Omnibus, :pair?) { |*_| true }; put('/etc/gitlab/gitlab-secrets.json', JSON.generate('registry' => { 'internal_key' => 'a', 'internal_certificate' => 'b' })); put('/var/opt/gitlab/gitlab-rails/etc/gitlab-registry.key', 'c'); main.send(:adopt)", ("was replaced by hand", "gitlab-ctl restart registry")),
    Case("this node is managed by the stack acme/other", "main('state' => { 'owner' => 'acme/other' }).send(:mine)", ("state.json says so", "pulumi destroy")),
    Case("DIR/etc/gitlab/gitlab.rb ends before its last line", "put('/etc/gitlab/gitlab.rb', \"x = 1\\n__END__\\n\"); main.send(:wanted)", ("Ruby reads nothing after line 2, __END__", "remove that line")),
    Case("DIR/etc/gitlab/gitlab.rb would not be valid Ruby", "put('/etc/gitlab/gitlab.rb', 'external_url ('); main.send(:wanted)", ("line 2", "mend the file")),
    Case("gitlab-ctl reconfigure failed", "stub(Omnibus, :run) { |_, seconds| $run.call(%w[sleep 9], seconds) }; Omnibus.reconfigure($order)", ("no end after 60 s (is another reconfigure running",)),
    Case("refused: nginx would not start with the certificate of registry.tokyo.example.com", f"{TLS}; {LOOK}", ("/etc/gitlab/ssl/registry.tokyo.example.com.crt does not exist; ", "['ssl_certificate']", "['listen_https'] = false")),
    Case("refused: clients would not accept the certificate of registry.tokyo.example.com", f"{TLS}; {PAIR}; {LOOK}", ("registry.tokyo.example.com.crt is for registry, not for", "put a certificate for")),
    Case("nginx on this node does not answer for gitlab.tokyo.example.com", NGINX + "n = OwnNginx.new($order); put('/var/log/gitlab/nginx/current', \"x [emerg] 1#0: cannot load certificate\\n\"); $seen = [[0, '127.0.0.1:443 refuses the connection', nil]]; n.came_back", ("cause: 127.0.0.1:443 refuses the connection; nginx' log: [emerg] 1#0: cannot load certificate", "gitlab-ctl tail nginx")),
    Case("GitLab on this node does not answer for gitlab.tokyo.example.com", NGINX + "n = OwnNginx.new($order); $seen = [[1, '502', nil]]; n.as_before", ("through nginx at 127.0.0.1:443: 502 (before this change: 200)", "gitlab-ctl tail puma")),
    Case("this node no longer trusts the certificate of gitlab.tokyo.example.com", NGINX + "n = OwnNginx.new($order); $seen = [[2, '200', 'certificate has expired']]; n.came_back", ("certificate has expired; before this change it did", "trusted_certificates")),
    Case("gitlab-ctl reconfigure failed", NGINX + CHANGE.replace("main.send", "m = main; m.instance_variable_set(:@nginx, OwnNginx.new($order)); m.send"), ("not permitted",), f"{BACK} back in DIR/etc/gitlab/gitlab.rb, but a reconfigure with them failed as well (FATAL: reconfigure is not permitted); services run as the last successful reconfigure left them, and nginx answers"),
    Case("a file could not be written", "stub(Omnibus, :run) { |*_| [true, ''] }; " + NGINX + CHANGE.replace("main.send", "m = main; m.instance_variable_set(:@nginx, OwnNginx.new($order)); $seen = [[2, '200', nil], [0, 'refused', nil]]; m.send"), ("chosen",), f"{BACK} back, and a reconfigure with them succeeded, but nginx does not answer for gitlab.tokyo.example.com"),
    Case("refused: Let's Encrypt could not find registry.invalid", f"{TLS.replace('registry.tokyo.example.com', 'registry.invalid').replace('false', 'true')}; {LOOK}", ("does not resolve", "letsencrypt['enable'] = false")),
    Case("a file could not be written", "stub(Omnibus, :run) { |*_| [true, ''] }; " + CHANGE, ("chosen",), f"{BACK} back, and a reconfigure with them succeeded"),
    Case("gitlab-ctl reconfigure failed", CHANGE, ("not permitted",), f"{BACK} back in DIR/etc/gitlab/gitlab.rb, but a reconfigure with them failed as well (FATAL: reconfigure is not permitted); services run as the last successful reconfigure left them"),
    Case("gitlab-ctl reconfigure failed", "stub(Omnibus, :put_back_registry_secrets) { |_| raise IOError, 'chosen' }; " + CHANGE, ("not permitted",), f"{BACK} being put back, and that came to no end (chosen); the next run goes on with it"),
]  # fmt: skip


class Node:
    """The program, all of it but its beginning, in one Ruby process and on paths of the test's own."""

    def __init__(self, folder: Path) -> None:
        self.root = folder / "root"
        self.root.mkdir()
        program = folder / "program.rb"
        program.write_text(PATHS.sub(f"{self.root}/", source().partition(END)[0]))
        self.process = subprocess.Popen(
            ["ruby", "-e", DRIVER, str(program), str(self.root)],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
        )

    def told(self, code: str) -> str:
        """What stands on the administrator's screen after this."""
        assert self.process.stdin and self.process.stdout
        print(json.dumps([code, ORDER]), file=self.process.stdin, flush=True)
        answer: str = json.loads(self.process.stdout.readline())
        return answer.replace(str(self.root), "DIR").replace(str(self.root)[1:], "DIR")


@pytest.fixture(scope="module")
def node(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Node]:
    node = Node(tmp_path_factory.mktemp("node"))
    yield node
    assert node.process.stdin and node.process.stdout
    node.process.stdin.close()
    node.process.stdout.close()
    node.process.wait(30)


@pytest.fixture(scope="module")
def told(node: Node) -> dict[str, str]:
    """What each case is told with."""
    return {case.code: node.told(case.code) for case in CASES}


@pytest.mark.parametrize("case", CASES, ids=[case.what for case in CASES])
def test_a_failure_says_what_why_in_which_state_and_what_to_do(told: dict[str, str], case: Case) -> None:
    """Of which node and site; without a secret."""
    text = told[case.code]
    lines = re.findall(r"^(?:tokyo-1 \(site tokyo\)|  cause|  state|  do): *(.*)$", text, re.MULTILINE)
    assert len(lines) == 4 and all(lines), text
    assert lines[0] == case.what
    assert lines[2] == case.state
    for part in case.parts:
        assert part in text
    assert "s3cr3t-value" not in text


AGAIN = f"begin; {CHANGE}; rescue Failure; end; main('state' => {{}}).send(:recover)"


@pytest.mark.parametrize(
    ("code", "says"),
    [
        (AGAIN, "the last run failed, and so did the reconfigure with the former settings (FATAL: reconfigure is not permitted); this run goes on from there"),
        ("$asked = nil; stub(Omnibus, :put_back_registry_secrets) { |_| $asked = !$asked; raise IOError, 'chosen' if $asked }; " + AGAIN, "the last run failed, and putting the former settings back came to no end (chosen); this run goes on from there"),
        ("put('/etc/gitlab/geo-registry/journal.json', JSON.generate('files' => [])); main.send(:recover)", "an earlier run was cut off; what it had begun is taken back first"),
    ],
)  # fmt: skip
def test_the_next_run_says_how_the_last_one_ended(node: Node, code: str, says: str) -> None:
    """A failed run whose rollback failed as well was not cut off."""
    assert (
        node.told(code.replace(AGAIN, "$stderr = StringIO.new; " + AGAIN)).splitlines()[-1]
        == f"tokyo-1: {says}"
    )


def test_an_nginx_that_was_away_after_a_failed_run_is_not_taken_for_off(node: Node) -> None:
    """The run that left it so was cut off, or could not bring it back: the next one expects it to answer."""
    start = NGINX + "$seen = [[0, 'refused', nil]]; "
    look = "n = OwnNginx.new($order, unfinished: {}); begin; n.came_back; $stderr.puts 'fine'; rescue Failure => e; $stderr.puts e.message; end"
    assert node.told(start + look.format("false")).splitlines()[-1] == "fine"
    assert "does not answer" in node.told(start + look.format("true")).splitlines()[-1]
    away = "n = OwnNginx.new($order, unfinished: true); stub(Omnibus, :restart) { |*_| }; n.after_rollback; $stderr.puts n.away?"
    assert node.told(start + away).splitlines()[-1] == "true"


def test_a_config_yml_that_cannot_be_read_does_not_stop_a_rollback(node: Node) -> None:
    """omnibus has just written it, from a value that is not YAML without quotes; the files come back all the same."""
    broken = "put('/var/opt/gitlab/registry/config.yml', \"http:\\n  addr: [::]:5000\\n\"); "
    look = "stub(Omnibus, :reconfigure) { |_| }; stub(Omnibus, :restart) { |*_| }; stub(OwnNginx, :new) { |_| nil }; "
    back = (
        "put('/etc/gitlab/gitlab.rb', 'former'); "
        "change = Change.make({ Omnibus::GITLAB_RB => 'new' }, {}, {}); main.send(:take_back, change); "
        "$stderr.puts File.read(Omnibus::GITLAB_RB)"
    )
    assert node.told(broken + look + back).splitlines()[-1] == "former"


RENDERED = {
    "registry": {
        "auth": {"token": {"realm": "https://gitlab.tokyo.example.com/jwt/auth", "issuer": "omnibus-gitlab-issuer"}},
        "storage": {"s3": {}, "maintenance": {"readonly": {"enabled": True}}},
        "http": {"addr": ":5000"},
    },
    "rails": {
        "gitlab": {"host": "GitLab.tokyo.example.com"},
        "registry": {"enabled": True, "host": "registry.tokyo.example.com", "port": None, "api_url": "http://127.0.0.1:5000"},
        "geo": {"registry_replication": {"enabled": True, "primary_api_url": "https://registry.london.example.com"}},
    },
}  # fmt: skip


@pytest.mark.parametrize(
    ("file", "at", "value", "wrong"),
    [
        ("registry", "storage", {"s3": {}, "maintenance": {"readonly": {"enabled": True}}}, None),
        ("registry", "storage", {"s3": {}}, "config.yml has read-only false (registry['storage']['maintenance']['readonly'])"),
        ("registry", "auth.token.realm", "https://old/jwt/auth", "config.yml has the realm https://old/jwt/auth (registry['token_realm'])"),
        ("registry", "http.addr", "127.0.0.1:5001", "gitlab.yml has the registry's API at http://127.0.0.1:5000 (gitlab_rails['registry_api_url'])"),
        ("rails", "registry.enabled", False, "gitlab.yml has the registry off"),
        ("rails", "registry.host", "old", "gitlab.yml has the registry at old (registry_external_url, gitlab_rails['registry_port'])"),
        ("rails", "registry.port", 5050, "gitlab.yml has the registry at registry.tokyo.example.com:5050 (registry_external_url, gitlab_rails['registry_port'])"),
        ("rails", "registry.port", 443, None),
        ("rails", "registry.api_url", "http://gitlab:5050", "gitlab.yml has the registry's API at http://gitlab:5050 (gitlab_rails['registry_api_url'])"),
        ("rails", "gitlab.host", "other", "gitlab.yml has GitLab at other (external_url), not at https://gitlab.tokyo.example.com"),
        ("rails", "registry.key", "/srv/own.key", "/srv/own.key holds another key"),
        ("registry", "auth.token.rootcertbundle", "/srv/own.crt", "/srv/own.crt does not hold the certificate"),
    ],
)  # fmt: skip
def test_each_value_that_omnibus_has_made_otherwise_is_named(
    node: Node, file: str, at: str, value: Any, wrong: str | None
) -> None:
    """Of both files, with the setting that makes it."""
    made = json.loads(json.dumps(RENDERED))
    *path, last = [file, *at.split(".")]
    reduce(dict.__getitem__, path, made)[last] = value
    code = (
        f"put('/var/opt/gitlab/registry/config.yml', {json.dumps(json.dumps(made['registry']))}); "
        f"put('/var/opt/gitlab/gitlab-rails/etc/gitlab.yml', {json.dumps(json.dumps({'production': made['rails']}))}); "
        "put('/var/opt/gitlab/gitlab-rails/etc/gitlab-registry.key', $order['secrets']['registry_key']); "
        "put('/var/opt/gitlab/registry/gitlab-registry.crt', $order['secrets']['registry_certificate']); "
        "$stderr.puts JSON.generate(Proof.rendered($order.merge('read_only' => true, 'replication' => true)))"
    )
    assert json.loads(node.told(code)) == ([wrong] if wrong else [])


@pytest.mark.parametrize(
    ("written", "address"), [(":5000", "127.0.0.1:5000"), ("localhost:5000", "localhost:5000"), ("10.0.0.5:80", "10.0.0.5:80")]
)  # fmt: skip
def test_the_registrys_address_is_read_as_omnibus_writes_it(node: Node, written: str, address: str) -> None:
    """Without quotes, so that Ruby's YAML reads a symbol in the first one."""
    code = f"put('/var/opt/gitlab/registry/config.yml', \"http:\\n  addr: {written}\\n\"); "
    assert node.told(code + "$stderr.puts Registry.local_address").strip() == address


@pytest.mark.parametrize(
    ("kind", "storage", "read_only", "found"),
    [
        ("primary", None, False, True),
        ("secondary", None, False, False),
        ("secondary", {}, False, True),
        ("secondary", {}, True, False),
        ("primary", {}, False, True),
    ],
)
def test_a_read_only_mode_that_was_left_on_is_found_where_people_push(
    node: Node, kind: str, storage: dict[str, Any] | None, read_only: bool, found: bool
) -> None:
    """Also at a primary whose storage stays as it is (`keep`); not where this program makes it read-only itself."""
    order = json.dumps({"kind": kind, "storage": storage, "read_only": read_only, "site": "tokyo"})
    code = (
        "theirs = { 'registry.storage.maintenance' => { 'readonly' => { 'enabled' => true } } }; "
        f"conflicts = Conflicts.new(JSON.parse({json.dumps(order)}), Settings.new('all' => {{}}, 'theirs' => theirs)); "
        "begin; conflicts.read_only; $stderr.puts 'nothing'; rescue Failure => e; $stderr.puts e.message; end"
    )
    said = node.told(code).strip()
    assert ("is on at tokyo" in said) is found, said


@pytest.mark.parametrize(
    ("gitlab_rb", "state", "says"),
    [
        ("x = 1\\n", {"owner": "acme/prod"}, "DIR/etc/gitlab/gitlab.rb was rewritten without the line that includes the settings; it is put back."),
        ("x = 1\\n", {}, None),
        ("x = 1\\n#{Include::LINE}\\n", {"owner": "acme/prod"}, None),
    ],
)  # fmt: skip
def test_a_gitlab_rb_that_a_tool_has_rewritten_is_noticed(
    node: Node, gitlab_rb: str, state: dict[str, str], says: str | None
) -> None:
    """At the next look, with what to do about it; not at the first one."""
    code = f"put('/etc/gitlab/gitlab.rb', \"{gitlab_rb}\"); main('state' => JSON.parse({json.dumps(json.dumps(state))})).send(:rewritten)"
    said = node.told(code)
    assert said == "" if says is None else says in said and "put the line into its template" in said


MESSAGE = re.compile(
    r"""(Failure\.new|\bfailed|\brefused|(?<![.\w])new)\(\s*("(?:[^"\\]|\\.)*"|'(?:[^'\\]|\\.)*')"""
)


def messages() -> list[tuple[str, str]]:
    """FILE:LINE and a pattern for every failure that the source can make."""
    found = []
    for file in sorted(SCRIPTS.glob("*.rb")):
        text = file.read_text(encoding="utf-8")
        for match in MESSAGE.finditer(text):
            kind, quoted = match.groups()
            if kind == "new" and quoted.startswith('"'):
                continue  # a registry by its URL
            said = re.split(r"#\{[^}]*\}", quoted[1:-1].replace("\\'", "'"))
            pattern = ".+".join(map(re.escape, said))
            prefix = {"failed": "the proof failed: ", "refused": "refused: "}.get(kind, "")
            found.append((f"{file.name}:{text[: match.start()].count(chr(10)) + 1}", prefix + pattern))
    return found


def test_every_failure_in_the_source_is_in_the_table() -> None:
    """A new one needs a case above."""
    known = messages()
    assert len(known) > 25
    missing = [at for at, pattern in known if not any(re.fullmatch(pattern, case.what) for case in CASES)]
    assert missing == []
