"""Each thing that the program on a node can refuse or fail with, by its code: with cause, state and what to do."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from dataclasses import dataclass
from functools import reduce
from pathlib import Path
from typing import Any

import pytest
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric import rsa

from hosts.programs import source
from tests.configurations import certificate
from tests.failures import of_nodes, of_registries, of_sessions, without_a_code
from tests.ruby import Ruby

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
def proof(more = {}) = Proof.new($order.merge(more))
def verification(more = {}) = Verification.new($order.merge(more))
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
        "events_url": "https://gitlab.london.example.com/api/v4/container_registry_event/events",
        "registry_url": "https://registry.london.example.com",
        "registry_kind": "omnibus",
    },
    "secrets": {"registry_key": KEY, "registry_certificate": CERTIFICATE, "notification_secret": "s3cr3t-value"},
    "files": {},
    "settings": "",
    "secrets_file": "/etc/gitlab/geo-registry/secrets.json",
    "reconfigure_seconds": 60,
    "storage": {
        "driver": "s3", "place": [None, "acme", ""], "shown": "s3://acme", "bucket": "acme", "region": "eu-west-1",
        "access_key": "AKIAEXAMPLE", "secret_key": "s3cr3t-value", "patience": 5, "write": False,
    },
}  # fmt: skip
DISK = {"filesystem": {"rootdirectory": "DIR/images"}}
HOLDS = "put('/images/docker/registry/v2/repositories/acme/x', '')"
PERMISSIONS = "Storage.permissions($order)"
LOCKS = "LockFiles.new($order).prove"
SERVER = 'connection to server at "db.tokyo.example.com" (10.20.0.9), port 5432 failed'


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
    own = "registry['enable'] = true; gitlab_rails['registry_issuer'] = 'omnibus-gitlab-issuer'"
    return (
        f"put('/etc/gitlab/gitlab.rb', {json.dumps(f'x = 1{chr(10)}{line}{chr(10)}')}.gsub(\"'/etc/own\", \"'#{{$dir}}/etc/own\")); "
        f"m = main('settings' => {json.dumps(own)}); "
        "stub(Omnibus, :now) { Process.clock_gettime(Process::CLOCK_MONOTONIC) }; $stderr = STDERR; settings = EvaluatedSettings.read(m.send(:desired_files)); $stderr = StringIO.new; "
        "Conflicts.refuse($order.merge('settings' => ''), settings, $order['secrets']['registry_certificate'])"
    )


def database(
    said: str = "",
    *,
    rows: tuple[str, ...] = (),
    asks: str = "check(EvaluatedSettings.new('all' => {}, 'administrators' => {}))",
    **more: Any,
) -> str:
    """The check of a metadata database, where psql fails with these words, or prints a row for each query."""
    order = {
        "managed": False,
        "host": "db.tokyo.example.com",
        "port": 5432,
        "user": "registry",
        "name": "registry",
    }
    answer = "[false, said]" if said else "[true, rows.shift]"
    return (
        f"said, rows = {json.dumps('psql: error: ' + said)}, {json.dumps(rows)}; "
        f"stub(Omnibus, :run) {{ |*_| {answer} }}; "
        f"order = $order.merge('database' => JSON.parse({json.dumps(json.dumps(order | {'sslmode': 'require'} | more))}), 'alone' => true); "
        f"Database.new(order).{asks}"
    )


def state(**known: Any) -> str:
    """What an import has noted."""
    return f"put('/etc/gitlab/geo-registry/import.json', {json.dumps(json.dumps(known))})"


IMPORT = "Import.new($order.merge('database' => { 'host' => 'db', 'port' => 5432, 'name' => 'registry', 'sslmode' => 'require' }, 'import' => {}))"
MANAGED = "Import.new($order.merge('database' => { 'managed' => true }, 'import' => {}))"
STEP_TWO = IMPORT.replace("'import' => {}", "'import' => { 'step' => '2', 'dry_run' => false }")

# The importer finds tags, and the storage refuses the write.
LOCKED = (
    f"{state(phase='imported', database='db:5432/registry', read_only_since=1, locked=True)}; "
    "Import.class_eval { def importer(*) = []; def tags = 3 }; "
    "stub(Omnibus, :run) { |*_| [true, 'Error: tags already present in database: could not restore lockfiles: AccessDenied'] }; "
)
OTHERS = LOCKED.replace("'Error", "'2 Error")


@dataclass(frozen=True)
class Case:
    """What happens on the node (Ruby), the code of the failure, and what of its words is the cause or the remedy."""

    code: str
    happens: str
    parts: tuple[str, ...]
    state: str = "nothing was changed on this node"


CHANGE = (
    "put('/etc/gitlab/gitlab.rb', \"external_url 'x'\\n\"); put('/etc/gitlab/geo-registry/x', ''); "
    "main.send(:change, { \"#{$dir}/etc/gitlab/gitlab.rb\" => 'new' }, restart: false) { raise IOError, 'chosen' }"
)
BACK = "the former settings are"
TLS = "stub(EvaluatedSettings, :read) { |_| EvaluatedSettings.new('all' => { 'external_url' => 'http://x', 'registry_external_url' => 'https://registry.tokyo.example.com', 'letsencrypt.enable' => false }) }"
PAIR = f"put('/etc/gitlab/ssl/registry.tokyo.example.com.crt', {json.dumps(SERVED['certificate'])}); put('/etc/gitlab/ssl/registry.tokyo.example.com.key', {json.dumps(SERVED['private_key'])})"
NGINX = (
    "put('/opt/gitlab/service/nginx', ''); put('/var/log/gitlab/nginx/current', ''); "
    "put('/var/opt/gitlab/nginx/conf/gitlab-http.conf', 'server { listen *:443 ssl; server_name gitlab.tokyo.example.com; }'); "
    "$seen = [[2, '200', nil]]; stub(LocalNginx, :new) { |o, **more| LocalNginx.allocate.tap { |n| n.define_singleton_method(:ask) { |_| LocalNginx::Answer.new(*($seen.size > 1 ? $seen.shift : $seen.first)) }; n.send(:initialize, o, **more) } }; "
)
LOOK = "Certificates.check($order, {})"
CASES = [
    Case("file-not-written", "raise Errno::ENOSPC, '/etc/gitlab/gitlab.rb'", ("No space left", "free some space")),
    Case("file-not-written", "raise Errno::EROFS, '/etc/gitlab/gitlab.rb'", ("Read-only file system", "make it writable for root")),
    Case("program-stopped", "Integer('x')", ("ArgumentError", "open an issue")),
    Case("reconfigure-failed", "Omnibus.reconfigure($order)", ("FATAL: reconfigure is not permitted", "/var/log/gitlab/reconfigure")),
    Case("service-restart-failed", "Omnibus.restart($order, 'registry')", ("FATAL: registry", "gitlab-ctl tail registry")),
    Case("service-reload-failed", "Omnibus.hup('nginx')", ("FATAL: nginx", "gitlab-ctl tail nginx")),
    Case("gitlab-secrets-invalid", "put('/etc/gitlab/gitlab-secrets.json', '{'); Omnibus.secrets", ("DIR/etc/gitlab/gitlab-secrets.json", "backup-etc",)),
    Case("rendered-config-invalid", "put('/var/opt/gitlab/registry/config.yml', \"http:\\n  addr: [::]:5000\\n\"); Omnibus.registry_config", ("DIR/var/opt/gitlab/registry/config.yml", "without quotes", "correct gitlab.rb")),
    Case("metadata-database-switched-on", f"{HOLDS}; {configured()}; Storage.refuse_to_hide_images('database' => {{}})", ("holds images", "make import-registry STACK=")),
    Case("metadata-database-switched-off", f"{HOLDS}; {configured(database={'enabled': True})}; Storage.refuse_to_hide_images('storage' => nil, 'site' => 'tokyo')", ("are in that database", "sites.tokyo.metadata_database managed")),
    Case("metadata-database-login-refused", database(f'{SERVER}: FATAL:  password authentication failed for user "registry"'), ("db.tokyo.example.com:5432/registry: password authentication failed for user", "check user and password of metadata_database")),
    Case("metadata-database-login-refused", database(f'{SERVER}: FATAL:  no pg_hba.conf entry for host "10.20.0.11", user "registry"'), ("no pg_hba.conf entry", "pg_hba.conf there admits this node")),
    Case("metadata-database-not-found", database(f'{SERVER}: FATAL:  database "registry" does not exist'), ('database "registry" does not exist', "create it on that server")),
    Case("metadata-database-without-tls", database(f"{SERVER}: server does not support SSL, but SSL was required"), ("server does not support SSL", "`ssl = on`")),
    Case("metadata-database-certificate-refused", database(f"{SERVER}: SSL error: certificate verify failed"), ("certificate verify failed", "metadata_database.sslrootcert")),
    Case("metadata-database-unreachable", database(f"{SERVER}: Connection refused"), ("Connection refused", "the firewall in between")),
    Case("metadata-database-unreachable", database('could not translate host name "db.tokyo.example.com" to address: Name or service not known'), ("could not translate host name", "check host and port")),
    Case("metadata-database-unusable", database(f"{SERVER}: FATAL:  sorry, too many clients already"), ("too many clients already", "correct that")),
    Case("metadata-database-too-old", database(rows=("140012|f|t|0|f",)), ("is PostgreSQL 14", "upgrade PostgreSQL")),
    Case("metadata-database-read-only", database(rows=("150010|t|t|0|f",)), ("is in recovery", "that is not a replica")),
    Case("metadata-database-permission-missing", database(rows=("150010|f|f|0|f",)), ("registry has no CREATE permission", "ALTER DATABASE registry OWNER TO registry")),
    Case("metadata-database-in-use", database(rows=("150010|f|t|7|f",)), ("it has 7 tables that are not a registry's", "name an empty database")),
    Case("metadata-database-in-use", database(rows=("150010|f|t|40|t", "t")), ("another registry keeps the metadata of its images there", "data_moved true")),
    Case("metadata-database-would-change", f"{configured(database={'enabled': True, 'host': 'db.tokyo.example.com', 'port': 5433, 'dbname': 'registry'})}; stub(Storage, :images?) {{ |_| true }}; {database(rows=('150010|f|t|0|f',))}", ("is in db.tokyo.example.com", "pg_dump")),
    Case("metadata-database-would-change", f"{configured(database={'enabled': True, 'host': 'old.example.com', 'dbname': 'registry'})}; {database(rows=('150010|f|t|0|f',))}", ("is in old.example.com/registry", "pg_dump")),
    Case("metadata-database-would-change", f"{configured(database={'enabled': True, 'host': 'old.example.com', 'dbname': 'registry'})}; put('/opt/gitlab/service/postgresql', ''); {database(managed=True)}", ("is in old.example.com/registry", "storage.data_moved")),
    Case("metadata-database-not-managed", database(managed=True), ("PostgreSQL is not enabled on this node", "sites.tokyo.metadata_database")),
    Case("metadata-database-not-migrated", "stub(ServerBlocks, :version) { [17, 11] }; " + database("no space left on device", asks="migrate"), ("no space left", "creates those that are missing")),
    Case("import-in-progress", f"{state(phase='read-only', read_only_since=0)}; Import.refuse_change($order)", ("it is read-only since 1970-01-01T00:00:00Z", "make import-registry STACK=prod SITE=tokyo` (GIVE_UP=1)")),
    Case("import-into-another-database", f"{configured()}; {state(database='old:5432/registry')}; {IMPORT}.check(nil)", ("names old:5432/registry, and the configuration db:5432/registry", "set metadata_database of tokyo to old:5432/registry again, give that import up")),
    Case("import-not-needed", f"{configured(database={'enabled': True})}; {IMPORT}.check(nil)", ("`pulumi up`",)),
    Case("import-not-needed", f"{configured(database={'enabled': True})}; {state(phase='done')}; {IMPORT}.give_up {{ }}", ("`pulumi up`",)),
    Case("import-not-needed", f"{configured(database={'enabled': True})}; {STEP_TWO}.run", ("`pulumi up`",)),
    Case("import-not-read-only", f"{configured()}; {STEP_TWO}.run", ("images that are pushed now would not be imported", "makes it read-only first")),
    Case("lock-files-not-restored", f"{configured()}; {LOCKED.replace('tags = 3', 'tags = 0')}{IMPORT}.give_up {{ }}", ("the database has no tags", "complete the import")),
    Case("lock-files-not-restored", f"{configured()}; {OTHERS}{IMPORT}.back", ("other registries of this site use the database already", "`pulumi up` again")),
    Case("lock-files-not-restored", f"{configured()}; {LOCKED}{IMPORT}.give_up {{ }}", ("could not restore lockfiles: AccessDenied", "with GIVE_UP=1")),
    Case("file-not-written", LOCKED + CHANGE.replace("main.", f"$import = {IMPORT}; stub(Import, :new) {{ |_| $import }}; main."), ("chosen",), f"{BACK} restored in DIR/etc/gitlab/gitlab.rb without a reconfigure, because the lock files in the registry's storage are still those of the metadata database, and without it the registry would not start (could not restore lockfiles: AccessDenied); services run as the last successful reconfigure left them"),
    Case("import-not-possible", f"{configured(database={'enabled': False})}; put('/opt/gitlab/service/postgresql', ''); {MANAGED}.check(EvaluatedSettings.new('all' => {{}}, 'administrators' => {{}}))", ("has not created a database for the registry", "upgrade GitLab")),
    Case("import-not-possible", f"{IMPORT}.check(nil)", ("has not been configured yet", "gitlab-ctl reconfigure")),
    Case("metadata-database-in-use", f"{configured()}; rows = ['150010|f|t|9|t', 't', 't', '3']; stub(Omnibus, :run) {{ |*_| [true, rows.shift] }}; {IMPORT}.check(nil)", ("db:5432/registry has metadata of images that this program did not import", "name an empty database")),
    Case("import-differs", f"{configured()}; stub(Storage, :token) {{ |_| nil }}; Catalog.class_eval {{ def digests = [{{ 'a:1' => 'sha256:aa', 'a:2' => 'sha256:bb' }}, []] }}; stub(Omnibus, :run) {{ |*_| [true, \"a|1|01aa\\n\"] }}; {IMPORT}.compare", ("1 of 2 tags differ: a:2", "repeats the import of the tags")),
    Case("import-before-first-up", "main('import' => { 'action' => 'check' }).send(:import)", ("state.json is missing", "leave out metadata_database of this site")),
    Case("registry-mode-unchanged", f"{configured()}; put('/etc/gitlab/geo-registry/settings.rb', ''); stub(Omnibus, :run) {{ |*_| [true, ''] }}; main.send(:read_only, {IMPORT}, true)", ("sets registry['storage']", "remove that line"), f"{BACK} restored, and a reconfigure with them succeeded"),
    Case("registry-not-answering", f"{configured()}; answers(502, 'Bad Gateway'); main.send(:wait_for_registry)", ("/v2/: 502 Bad Gateway", "gitlab-ctl tail registry")),
    Case("registry-not-readable", f"{configured()}; answers(500, 'x'); Catalog.new(Token.new($order['secrets']['registry_key'], 'i')).repositories", ("_catalog?n=1000 was answered 500 x",)),
    Case("storage-would-move", f"{HOLDS}; {configured()}; Storage.refuse_to_hide_images($order)", ("from filesystem DIR/images to s3://acme", "the registry holds images", "data_moved true")),
    Case("storage-would-move", f"{configured(storage={'s3': {'bucket': 'acme-old'}})}; Storage.refuse_to_hide_images($order)", ("from s3 acme-old to s3://acme", "did not answer whether it holds images", "copy the images")),
    Case("storage-directory-not-local", "stub(Storage, :directory) { |at| ['nfs:/export', at] }; Storage.disk($order, 'place' => ['srv/registry'])", ("/srv/registry", "it is on nfs:/export", "sites.tokyo.storage")),
    Case("instance-credentials-missing", "answers(404, 'Not Found'); $order['storage'].delete('access_key'); " + PERMISSIONS, ("404 Not Found", "instance profile")),
    Case("storage-writable-by-secondary", "answers(200); " + PERMISSIONS, ("put an object in s3://acme", "answered with 200; 403 was expected", "IAM policy")),
    Case("storage-key-refused", "answers(403, '<Code>AccessDenied</Code>'); " + PERMISSIONS, ("403 AccessDenied", "sites.tokyo.s3_keys")),
    Case("storage-unreachable", "unreached(SocketError.new('getaddrinfo: Name or service not known')); " + PERMISSIONS, ("read s3://acme with the key of tokyo: the name acme.s3.eu-west-1.amazonaws.com does not resolve", "make acme.s3.eu-west-1.amazonaws.com resolve on this node")),
    Case("lock-file-missing", "answers(404); " + LOCKS, ("s3://acme/docker/registry/lockfiles/filesystem-in-use is missing", "pulumi config set proof", "printf '{\"version\":1}' | aws s3 cp - s3://acme/docker/registry/lockfiles/filesystem-in-use")),
    Case("lock-file-database-in-use", "answers(200); " + LOCKS, ("s3://acme/docker/registry/lockfiles/database-in-use exists", "registry metadata database in use, please enable the database", "metadata_database")),
    Case("lock-file-filesystem-in-use", "answers(200); $order['database'] = {}; " + LOCKS, ("s3://acme/docker/registry/lockfiles/filesystem-in-use exists", "please import data", "make import-registry STACK=prod SITE=tokyo")),
    Case("storage-key-refused", "$answer = ->(method, *_) { method == 'HEAD' ? [404, '', {}] : [403, '<Code>AccessDenied</Code>', {}] }; main.send(:lock_file)", ("put docker/registry/lockfiles/filesystem-in-use in s3://acme", "403 AccessDenied")),
    Case("settings-without-effect", "proof.send(:check_rendered)", ("contains another key", "a line after the include of")),
    Case("settings-without-effect", "Trust.new($order).prove", ("gitlab-registry.crt does not contain the certificates", "registry['internal_certificate']")),
    Case("own-token-not-accepted", f"{configured()}; answers(502, 'Bad Gateway'); proof.send(:own_registry, Registry.local)", ("http://127.0.0.1:5000 answered 502 Bad Gateway", "gitlab-ctl tail registry")),
    Case("notifications-not-accepted", "answers(401); verification.send(:notifications)", ("was answered with 401", "registry_notification_secret")),
    Case("notifications-not-accepted", "answers(403); verification.send(:notifications)", ("was answered with 403", "promote tokyo in GitLab, or set `primary` back")),
    Case("notification-secret-not-checked", "answers(202); verification.send(:notifications)", ("a wrong secret was answered with 202; 401 was expected", "pass it on to Rails")),
    Case("registry-key-mismatch", "answers(401, 'UNAUTHORIZED'); verification.send(:primary_registry)", ("or its issuer is not omnibus-gitlab-issuer", "pulumi config set proof")),
    Case("primary-registry-unreachable", "unreached(Errno::EHOSTUNREACH.new); verification.send(:primary_registry)", ("there is no route to registry.london.example.com", "correct routing or firewall")),
    Case("primary-registry-unreachable", "answers(502, 'Bad Gateway'); verification.send(:primary_registry)", ("502 Bad Gateway", "check whether a proxy answers")),
    Case("own-token-not-accepted", f"{configured()}; unreached(Errno::ECONNREFUSED.new); proof.send(:own_registry, Registry.local)", ("127.0.0.1:5000 refuses the connection: nothing listens there", "gitlab-ctl tail registry")),
    Case("notifications-not-accepted", "unreached(Net::OpenTimeout.new); verification.send(:notifications)", ("got no answer: gitlab.london.example.com:443 did not answer within 15 s", "allow this node to reach gitlab.london.example.com:443")),
    Case("instance-credentials-missing", "unreached(Net::OpenTimeout.new); $order['storage'].delete('access_key'); " + PERMISSIONS, ("the instance metadata service does not answer: 169.254.169.254:80 did not answer", "instance profile")),
    Case("forged-token-accepted", "answers(404, 'NAME_UNKNOWN'); verification.send(:primary_registry)", ("answered 404 to a token with an invalid signature; 401 was expected", "bypassed at https://registry.london.example.com")),
    Case("pull-only-token-pushes", "$asked = 0; $answer = ->(method, *_) { method == 'post' ? [202, '', {}] : [($asked += 1) == 1 ? 404 : 401, 'NAME_UNKNOWN', {}] }; verification.send(:primary_registry)", ("answered 202 to a request to start an upload; 401 was expected", "fix it on london")),
    Case("secondary-accepts-pushes", f"{configured()}; answers(202); proof.send(:read_only, Registry.local)", ("answered 202 to a request to start an upload; 405 was expected", "later registry['storage']")),
    Case("registry-left-read-only", refused(READ_ONLY), ("line 2 of DIR/etc/gitlab/gitlab.rb enables it", "remove maintenance.readonly there")),
    Case("registry-left-read-only", f"put('/etc/own.rb', {READ_ONLY!r}); " + refused("from_file '/etc/own.rb'"), ("DIR/etc/gitlab/gitlab.rb, or a file that it includes, enables it",)),
    Case("registry-address-ipv6", refused("registry['registry_http_addr'] = '[::]:5000'"), ("line 2 of DIR/etc/gitlab/gitlab.rb has [::]:5000", "write '0.0.0.0:5000' there")),
    Case("registry-address-without-host", refused("registry['registry_http_addr'] = ':5000'"), ("line 2 of DIR/etc/gitlab/gitlab.rb has :5000", "proxy_pass http://:5000", "write '0.0.0.0:5000' there")),
    Case("listen-port-mismatch", refused("registry_nginx['listen_port'] = 5050"), ("registry_nginx", "line 2 of DIR/etc/gitlab/gitlab.rb has 5050", "if a load balancer passes")),
    Case("rootcertbundle-mismatch", refused("registry['rootcertbundle'] = '/etc/gitlab/own.crt'"), ("line 2 of DIR/etc/gitlab/gitlab.rb names /etc/gitlab/own.crt", "remove that line")),
    Case("gitlab-rb-ends-early", refused("return"), ("DIR/etc/gitlab/gitlab.rb", "does not reach the include", "look there for `return`")),
    Case("registry-url-would-change", f"{HOLDS}; {configured()}; {rails(port=5050)}; PublicName.refuse_change($order)", ("registry.tokyo.example.com", "gitlab.tokyo.example.com:5050", "the Linux package enables it there by default", "registry_url_changes true")),
    Case("registry-url-would-change", f"{rails(port=4567)}; PublicName.refuse_change($order)", ("registry.tokyo.example.com", "is at gitlab.tokyo.example.com:4567 now and holds images, or did not answer",)),
    Case("gitlab-not-installed", "main.run('apply')", ("gitlab.rb is missing", "the GitLab node tokyo-1")),
    Case("another-run-in-progress", "put('/run/x', ''); held = File.open(Main::LOCK, 'w').tap { |f| f.flock(File::LOCK_EX) }; main.send(:locked) { }", ("gitlab-geo-registry.lock is held", "wait for it to end")),
    Case("registry-key-pair-missing", "main.send(:read_key_pair)", ("has no matching internal_key", "set registry_external_url")),
    Case("registry-key-replaced", "stub(Omnibus, :pair?) { |*_| true }; put('/etc/gitlab/gitlab-secrets.json', JSON.generate('registry' => { 'internal_key' => 'a', 'internal_certificate' => 'b' })); put('/var/opt/gitlab/gitlab-rails/etc/gitlab-registry.key', 'c'); main.send(:read_key_pair)", ("was replaced manually", "gitlab-ctl restart registry")),
    Case("managed-by-another-stack", "main('state' => { 'owner' => 'acme/other' }).send(:ensure_owned)", ("acme/other", "state.json names that stack as the owner", "pulumi destroy")),
    Case("gitlab-rb-ends-early", "put('/etc/gitlab/gitlab.rb', \"x = 1\\n__END__\\n\"); main.send(:desired_files)", ("DIR/etc/gitlab/gitlab.rb", "Ruby reads nothing after line 2, __END__", "remove that line")),
    Case("gitlab-rb-invalid", "put('/etc/gitlab/gitlab.rb', 'external_url ('); main.send(:desired_files)", ("DIR/etc/gitlab/gitlab.rb", "line 2", "fix the file")),
    Case("reconfigure-failed", "stub(Omnibus, :run) { |_, seconds| $run.call(%w[sleep 9], seconds) }; Omnibus.reconfigure($order)", ("did not end within 60 s (is another reconfigure running",)),
    Case("certificate-unusable", f"{TLS}; {LOOK}", ("/etc/gitlab/ssl/registry.tokyo.example.com.crt does not exist; ", "['ssl_certificate']", "['listen_https'] = false")),
    Case("certificate-invalid", f"{TLS}; {PAIR}; {LOOK}", ("registry.tokyo.example.com.crt is for registry, not for", "install a certificate for")),
    Case("nginx-not-answering", NGINX + "n = LocalNginx.new($order); put('/var/log/gitlab/nginx/current', \"x [emerg] 1#0: cannot load certificate\\n\"); $seen = [[0, '127.0.0.1:443 refuses the connection', nil]]; n.check_nginx", ("gitlab.tokyo.example.com", "cause: 127.0.0.1:443 refuses the connection; nginx' log: [emerg] 1#0: cannot load certificate", "gitlab-ctl tail nginx")),
    Case("service-not-answering", NGINX + "n = LocalNginx.new($order); $seen = [[1, '502', nil]]; n.check_services", ("gitlab.tokyo.example.com", "through nginx at 127.0.0.1:443: 502 (before this change: 200)", "gitlab-ctl tail puma")),
    Case("certificate-no-longer-trusted", NGINX + "n = LocalNginx.new($order); $seen = [[2, '200', 'certificate has expired']]; n.check_nginx", ("gitlab.tokyo.example.com", "certificate has expired; before this change, this node trusted the certificate", "trusted_certificates")),
    Case("reconfigure-failed", NGINX + CHANGE.replace("main.send", "m = main; m.instance_variable_set(:@nginx, LocalNginx.new($order)); m.send"), ("not permitted",), f"{BACK} restored in DIR/etc/gitlab/gitlab.rb, but a reconfigure with them failed as well (FATAL: reconfigure is not permitted); services run as the last successful reconfigure left them, and nginx answers"),
    Case("file-not-written", "stub(Omnibus, :run) { |*_| [true, ''] }; " + NGINX + CHANGE.replace("main.send", "m = main; m.instance_variable_set(:@nginx, LocalNginx.new($order)); $seen = [[2, '200', nil], [0, 'refused', nil]]; m.send"), ("chosen",), f"{BACK} restored, and a reconfigure with them succeeded, but nginx does not answer for gitlab.tokyo.example.com"),
    Case("letsencrypt-name-unresolved", f"{TLS.replace('registry.tokyo.example.com', 'registry.invalid').replace('false', 'true')}; {LOOK}", ("registry.invalid", "does not resolve", "letsencrypt['enable'] = false")),
    Case("file-not-written", "stub(Omnibus, :run) { |*_| [true, ''] }; " + CHANGE, ("chosen",), f"{BACK} restored, and a reconfigure with them succeeded"),
    Case("reconfigure-failed", CHANGE, ("not permitted",), f"{BACK} restored in DIR/etc/gitlab/gitlab.rb, but a reconfigure with them failed as well (FATAL: reconfigure is not permitted); services run as the last successful reconfigure left them"),
    Case("reconfigure-failed", "stub(Omnibus, :restore_registry_secrets) { |_| raise IOError, 'chosen' }; " + CHANGE, ("not permitted",), "rollback did not complete (chosen); the next run resumes it"),
]  # fmt: skip


class Node(Ruby):
    """The program, all of it but its beginning, on paths of the test's own."""

    def __init__(self, folder: Path) -> None:
        self.root = folder / "root"
        self.root.mkdir()
        program = folder / "program.rb"
        program.write_text(PATHS.sub(f"{self.root}/", source().partition(END)[0]))
        super().__init__("-e", DRIVER, str(program), str(self.root))

    def reported(self, code: str) -> str:
        """What stands on the administrator's screen after this."""
        answer: str = self.ask([code, ORDER])
        return answer.replace(str(self.root), "DIR").replace(str(self.root)[1:], "DIR")


@pytest.fixture(scope="module")
def node(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Node]:
    with Node(tmp_path_factory.mktemp("node")) as node:
        yield node


@pytest.fixture(scope="module")
def reported(node: Node) -> dict[str, str]:
    """What each case is reported with."""
    return {case.happens: node.reported(case.happens) for case in CASES}


@pytest.mark.parametrize("case", CASES, ids=[case.code for case in CASES])
def test_a_failure_says_what_why_in_which_state_and_what_to_do(reported: dict[str, str], case: Case) -> None:
    """Of which node and site; without a secret. Its code ends the first line."""
    text = reported[case.happens]
    lines = re.findall(r"^(?:tokyo-1 \(site tokyo\)|  cause|  state|  do): *(.*)$", text, re.MULTILINE)
    assert len(lines) == 4 and all(lines), text
    assert lines[0].endswith(f" [{case.code}]")
    assert lines[2] == case.state
    for part in case.parts:
        assert part in text
    assert "s3cr3t-value" not in text


AGAIN = f"begin; {CHANGE}; rescue Failure; end; main('state' => {{}}).send(:recover)"


@pytest.mark.parametrize(
    ("code", "says"),
    [
        (AGAIN, "the last run failed, and so did the reconfigure with the former settings (FATAL: reconfigure is not permitted); this run resumes the rollback"),
        ("$asked = nil; stub(Omnibus, :restore_registry_secrets) { |_| $asked = !$asked; raise IOError, 'chosen' if $asked }; " + AGAIN, "the last run failed, and its rollback did not complete (chosen); this run resumes the rollback"),
        ("put('/etc/gitlab/geo-registry/journal.json', JSON.generate('files' => [])); main.send(:recover)", "an earlier run was interrupted; its changes are rolled back first"),
    ],
)  # fmt: skip
def test_the_next_run_says_how_the_last_one_ended(node: Node, code: str, says: str) -> None:
    """A failed run whose rollback failed as well was not cut off."""
    assert (
        node.reported(code.replace(AGAIN, "$stderr = StringIO.new; " + AGAIN)).splitlines()[-1]
        == f"tokyo-1: {says}"
    )


def test_an_nginx_that_was_away_after_a_failed_run_is_not_taken_for_off(node: Node) -> None:
    """The run that left it so was cut off, or could not bring it back: the next one expects it to answer."""
    start = NGINX + "$seen = [[0, 'refused', nil]]; "
    look = "n = LocalNginx.new($order, incomplete: {}); begin; n.check_nginx; $stderr.puts 'fine'; rescue Failure => e; $stderr.puts e.message; end"
    assert node.reported(start + look.format("false")).splitlines()[-1] == "fine"
    assert "does not answer" in node.reported(start + look.format("true")).splitlines()[-1]
    away = "n = LocalNginx.new($order, incomplete: true); stub(Omnibus, :restart) { |*_| }; n.after_rollback; $stderr.puts n.unavailable?"
    assert node.reported(start + away).splitlines()[-1] == "true"


@pytest.mark.parametrize("leaked", [True, False])
def test_a_leaked_key_that_gitlab_rb_sets_is_reported_when_the_settings_are_gone(
    node: Node, leaked: bool
) -> None:
    """The program does not change the administrator's lines."""
    secrets = json.dumps({"registry": {"internal_certificate": CERTIFICATE}})
    revoked = "[Omnibus.fingerprint($order['secrets']['registry_certificate'])]" if leaked else "[]"
    code = f"put('/etc/gitlab/gitlab-secrets.json', {json.dumps(secrets)}); main('revoked' => {revoked}).send(:report_leaked_pair)"
    assert ("the leaked registry key is in use again" in node.reported(code)) is leaked


def test_a_config_yml_that_cannot_be_read_does_not_stop_a_rollback(node: Node) -> None:
    """omnibus has just written it, from a value that is not YAML without quotes; the files are still restored."""
    broken = "put('/var/opt/gitlab/registry/config.yml', \"http:\\n  addr: [::]:5000\\n\"); "
    look = "stub(Omnibus, :reconfigure) { |_| }; stub(Omnibus, :restart) { |*_| }; stub(LocalNginx, :new) { |_| nil }; "
    back = (
        "put('/etc/gitlab/gitlab.rb', 'former'); "
        "change = FileTransaction.write({ Omnibus::GITLAB_RB => 'new' }, {}, {}); main.send(:roll_back, change); "
        "$stderr.puts File.read(Omnibus::GITLAB_RB)"
    )
    assert node.reported(broken + look + back).splitlines()[-1] == "former"


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
        ("registry", "storage", {"s3": {}}, "read-only mode is off in config.yml (registry['storage']['maintenance']['readonly'])"),
        ("registry", "auth.token.realm", "https://old/jwt/auth", "config.yml has the realm https://old/jwt/auth (registry['token_realm'])"),
        ("registry", "http.addr", "127.0.0.1:5001", "gitlab.yml has the registry's API at http://127.0.0.1:5000 (gitlab_rails['registry_api_url'])"),
        ("rails", "registry.enabled", False, "gitlab.yml has the registry disabled"),
        ("rails", "registry.host", "old", "gitlab.yml has the registry at old (registry_external_url, gitlab_rails['registry_port'])"),
        ("rails", "registry.port", 5050, "gitlab.yml has the registry at registry.tokyo.example.com:5050 (registry_external_url, gitlab_rails['registry_port'])"),
        ("rails", "registry.port", 443, None),
        ("rails", "registry.api_url", "http://gitlab:5050", "gitlab.yml has the registry's API at http://gitlab:5050 (gitlab_rails['registry_api_url'])"),
        ("rails", "gitlab.host", "other", "gitlab.yml has GitLab at other (external_url), not at https://gitlab.tokyo.example.com"),
        ("rails", "registry.key", "/srv/own.key", "/srv/own.key contains another key"),
        ("registry", "auth.token.rootcertbundle", "/srv/own.crt", "/srv/own.crt does not contain the certificate"),
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
        "$stderr.puts JSON.generate(Rendered.faults($order.merge('read_only' => true, 'replication' => true)))"
    )
    assert json.loads(node.reported(code)) == ([wrong] if wrong else [])


@pytest.mark.parametrize(
    ("written", "address"), [(":5000", "127.0.0.1:5000"), ("localhost:5000", "localhost:5000"), ("10.0.0.5:80", "10.0.0.5:80")]
)  # fmt: skip
def test_the_registrys_address_is_read_as_omnibus_writes_it(node: Node, written: str, address: str) -> None:
    """Without quotes, so that Ruby's YAML reads a symbol in the first one."""
    code = f"put('/var/opt/gitlab/registry/config.yml', \"http:\\n  addr: {written}\\n\"); "
    assert node.reported(code + "$stderr.puts Registry.local_address").strip() == address


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
        f"conflicts = Conflicts.new(JSON.parse({json.dumps(order)}), EvaluatedSettings.new('all' => {{}}, 'administrators' => theirs)); "
        "begin; conflicts.read_only; $stderr.puts 'nothing'; rescue Failure => e; $stderr.puts e.message; end"
    )
    said = node.reported(code).strip()
    assert ("is enabled at tokyo" in said) is found, said


@pytest.mark.parametrize(
    ("gitlab_rb", "state", "says"),
    [
        ("x = 1\\n", {"owner": "acme/prod"}, "DIR/etc/gitlab/gitlab.rb was rewritten without the line that includes the settings; the line is added again."),
        ("x = 1\\n", {}, None),
        ("x = 1\\n#{Include::LINE}\\n", {"owner": "acme/prod"}, None),
    ],
)  # fmt: skip
def test_a_gitlab_rb_that_a_tool_has_rewritten_is_noticed(
    node: Node, gitlab_rb: str, state: dict[str, str], says: str | None
) -> None:
    """At the next look, with what to do about it; not at the first one."""
    code = f"put('/etc/gitlab/gitlab.rb', \"{gitlab_rb}\"); main('state' => JSON.parse({json.dumps(json.dumps(state))})).send(:report_missing_include)"
    said = node.reported(code)
    assert said == "" if says is None else says in said and "add the line to its template" in said


def test_every_failure_of_the_source_has_a_case() -> None:
    """Also each that begins without a code, which Ruby notices only where it is raised."""
    assert without_a_code() == []
    assert {case.code for case in CASES} == {failure.code for failure in of_nodes()}


def test_a_code_stands_for_one_meaning() -> None:
    """In all programs: the same words, but for what they are about and the part of the run that says them."""
    words: dict[str, set[str]] = {}
    for failure in [*of_nodes(), *of_registries(), *of_sessions()]:
        said = re.sub("^(refused|the proof failed|verification failed): ", "", failure.words)
        words.setdefault(failure.code, set()).add(said.replace("this host", "this node"))
    assert {code: said for code, said in words.items() if len(said) > 1} == {}
