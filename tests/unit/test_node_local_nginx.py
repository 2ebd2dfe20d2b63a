"""The node's own nginx, asked on the node itself before and after a change."""

from __future__ import annotations

import json
import socket
import ssl
import threading
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest

from tests.ports import free_port
from tests.unit.test_node_certificates import Made
from tests.unit.test_node_messages import Node

CONF = "/var/opt/gitlab/nginx/conf"
NEWER, OLDER = "service_conf/gitlab-rails.conf", "gitlab-http.conf"
RAILS = """
# listen *:1; server_name commented;
server { ## HTTPS redirect server
  listen *:80;
  server_name gitlab.example.com;
  location / { return 301 https://gitlab.example.com:443$request_uri; }
}
server { ## HTTPS server
  listen *:443 ssl;
  listen [::]:443 ssl;
  listen 10.0.0.5:8443 proxy_protocol ssl http2;
  listen unix:/run/nginx.sock;
  server_name gitlab.example.com other.example.com;
  location / {
    proxy_pass http://gitlab-workhorse;
  }
}
"""


@pytest.fixture(scope="module")
def node(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Node]:
    with Node(tmp_path_factory.mktemp("node")) as node:
        yield node


def put(path: str, text: str = "") -> str:
    return f"put({json.dumps(path)}, {json.dumps(text)}); "


ON = put("/opt/gitlab/service/nginx")


def run(node: Node, code: str) -> Any:
    """The value of some Ruby on that node."""
    return json.loads(
        node.reported(f"{ON}{code.rstrip('; ')}.then {{ |value| $stderr.puts(JSON.generate(value)) }}")
    )


LISTENS = "LocalNginx.new($order).send(:blocks).map { |b| [b.service, b.name, b.at, b.tls, b.proxy] }"


@pytest.mark.parametrize("file", [NEWER, OLDER])
def test_addresses_and_names_are_those_that_nginx_was_given(node: Node, file: str) -> None:
    """Of any release, whatever port it listens on behind a load balancer."""
    registry = file.replace("rails", "registry").replace("http", "registry")
    text = "server {\n listen 5050;\n server_name registry.example.com;\n}\n"
    found = run(node, put(f"{CONF}/{file}", RAILS) + put(f"{CONF}/{registry}", text) + LISTENS)
    assert found == [
        ["GitLab", "gitlab.example.com", "127.0.0.1:80", False, False],
        ["GitLab", "gitlab.example.com", "127.0.0.1:443", True, False],
        ["GitLab", "gitlab.example.com", "[::1]:443", True, False],
        ["GitLab", "gitlab.example.com", "10.0.0.5:8443", True, True],
        ["the registry", "registry.example.com", "127.0.0.1:5050", False, False],
    ]


def test_only_what_nginx_reads_counts(node: Node) -> None:
    """An upgrade may leave files of the former layout, and nginx may be elsewhere or off."""
    both = put(f"{CONF}/{NEWER}", RAILS) + put(
        f"{CONF}/{OLDER}", RAILS.replace("gitlab.example", "old.example")
    )
    assert {block[1] for block in run(node, both + LISTENS)} == {"gitlab.example.com"}
    elsewhere = put(
        "/opt/gitlab/sv/nginx/run", "exec chpst -P /opt/gitlab/embedded/sbin/nginx -p DIR/nginx\n"
    )
    moved = elsewhere.replace("DIR", "#{$dir}/srv") + put("/srv/nginx/conf/gitlab-http.conf", RAILS)
    assert len(run(node, moved + LISTENS)) == 4
    assert run(node, both + put("/opt/gitlab/sv/nginx/down") + LISTENS) == []
    assert run(node, both + 'FileUtils.rm_f("#{$dir}/opt/gitlab/service/nginx"); ' + LISTENS) == []


@dataclass
class Web:
    """A server; what it was asked."""

    port: int
    asked: list[str] = field(default_factory=list)
    names: list[str | None] = field(default_factory=list)


@contextmanager
def web(*statuses: int, tls: tuple[Made, Path] | None = None, proxy: bool = False) -> Iterator[Web]:
    """Answers with one status after the other, the last one forever."""
    left = list(statuses)
    context = None
    with socket.create_server(("127.0.0.1", 0)) as listener:
        server = Web(listener.getsockname()[1])
        if tls:
            made, folder = tls
            (folder / "pair.pem").write_text(made.pem + made.key)
            context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
            context.load_cert_chain(folder / "pair.pem")
            context.sni_callback = lambda _, name, __: server.names.append(name)

        def answer(connection: socket.socket) -> None:
            if proxy:
                server.asked.append(connection.recv(49).decode())
            stream = context.wrap_socket(connection, server_side=True) if context else connection
            server.asked.append(stream.recv(10000).decode())
            status = left.pop(0) if len(left) > 1 else left[0]
            stream.sendall(f"HTTP/1.1 {status} X\r\nContent-Length: 0\r\n\r\n".encode())
            stream.close()

        def serve() -> None:
            while True:
                try:
                    connection, _ = listener.accept()
                except OSError:
                    return
                with connection, suppress(OSError):
                    answer(connection)

        threading.Thread(target=serve, daemon=True).start()
        yield server
        listener.shutdown(socket.SHUT_RDWR)


def conf(port: int, flags: str = "", name: str = "gitlab.example.com", file: str = OLDER) -> str:
    return put(f"{CONF}/{file}", f"server {{\n listen 127.0.0.1:{port}{flags};\n server_name {name};\n}}\n")


def test_it_is_asked_by_host_and_sni_at_its_own_address(node: Node, tmp_path: Path) -> None:
    """Where GitLab is below a path, there; a certificate that is not trusted is said and no failure."""
    made = Made("gitlab.example.com")
    gitlab_yml = put(
        "/var/opt/gitlab/gitlab-rails/etc/gitlab.yml", "production: {gitlab: {relative_url_root: /git}}"
    )
    with web(200, tls=(made, tmp_path)) as server:
        said = run(node, gitlab_yml + conf(server.port, " ssl") + "LocalNginx.new($order).check_services")
    assert server.names[0] == "gitlab.example.com"
    assert server.asked[0].startswith("GET /git/-/health HTTP/1.1\r\nHost: gitlab.example.com\r\n")
    (answer,) = said.values()
    assert answer.startswith("200, with a certificate that this node does not trust: self")


def test_trust_is_asked_of_name_and_authority(node: Node, tmp_path: Path) -> None:
    """As any client of this node would."""
    trust = "OpenSSL::X509::Store.class_eval {{ alias_method :_own, :set_default_paths; def set_default_paths = add_cert(OpenSSL::X509::Certificate.new({pem})) }}; begin; found = LocalNginx.new($order).check_services; ensure; OpenSSL::X509::Store.class_eval {{ alias_method :set_default_paths, :_own }}; end; found"
    for names, shown in (
        (["gitlab.example.com"], "404"),
        (["other.example.com"], "it is for other.example.com"),
    ):
        made = Made(*names)
        with web(404, tls=(made, tmp_path)) as server:
            said = run(node, conf(server.port, " ssl") + trust.format(pem=json.dumps(made.pem)))
        (answer,) = said.values()
        assert answer.endswith(shown)


def test_a_proxy_is_announced_where_nginx_wants_it(node: Node) -> None:
    """Else it takes the request for a broken header of a load balancer."""
    with web(401, proxy=True) as server:
        text = conf(server.port, " proxy_protocol", "registry.example.com", "gitlab-registry.conf")
        said = run(node, text + "LocalNginx.new($order).check_services")
    assert server.asked[0].startswith("PROXY TCP4 127.0.0.1 127.0.0.1 ")
    assert "GET /v2/ HTTP/1.1" in "".join(server.asked)
    assert said == {"the registry answers for registry.example.com through this node's nginx": "401"}


def test_a_service_that_starts_is_waited_for(node: Node) -> None:
    """502 is nginx' own; how long that takes is Rails' affair."""
    with web(200, 502, 502, 200) as server:
        said = node.reported(
            ON
            + conf(server.port)
            + "n = LocalNginx.new($order); n.check_nginx; $stderr.puts(n.check_services.values.inspect)"
        )
    assert said.splitlines() == [
        "tokyo-1: waiting for GitLab behind this node's nginx (502), at most 300 s",
        '["200"]',
    ]


def test_nginx_that_ends_is_seen_within_seconds(node: Node) -> None:
    """Whatever was new with it; by the test's clock."""
    with web(200) as server:
        gone = f"n = LocalNginx.new($order); {conf(free_port(), name='registry.example.com', file='gitlab-registry.conf')}"
        code = f"{conf(server.port)}{gone}began = $now; begin; n.check_nginx; rescue Failure => e; raise e if $now - began > 11; $stderr.puts e.message; end"
        assert node.reported(ON + code) == "nginx on this node does not answer for registry.example.com\n"


@pytest.mark.parametrize(
    ("log", "seconds"),
    [
        ("[emerg] 1#0: cannot load certificate", 0),
        ("[emerg] 1#0: bind() to 0.0.0.0:443 failed", 10),
        ("", 10),
    ],
)
def test_a_loop_of_starts_is_not_waited_for(node: Node, log: str, seconds: int) -> None:
    """Its log says so before the time is over; a port that is still taken becomes free."""
    file = "/var/log/gitlab/nginx/current"
    grows = f"n.define_singleton_method(:ask) {{ |block| File.write(\"#{{$dir}}{file}\", {json.dumps(log + chr(10))}, mode: 'a'); super(block) }}; "
    with web(200) as server:
        code = f"{conf(server.port)}{put(file)}n = LocalNginx.new($order); {grows}"
        code += conf(free_port(), name="registry.example.com", file="gitlab-registry.conf")
        code += (
            "began = $now; begin; n.check_nginx; rescue Failure; nil; end; $stderr.puts(($now - began).floor)"
        )
        assert int(node.reported(ON + code)) == seconds


@pytest.mark.parametrize("before", ["nothing", "502"])
def test_what_did_not_answer_before_need_not_do_so_now(node: Node, before: str) -> None:
    """Somebody has stopped nginx, or Rails is down: that is reported, and the change goes on."""
    with web(502) as server:
        port = server.port if before == "502" else free_port()
        code = (
            conf(port)
            + "n = LocalNginx.new($order); n.check_nginx; $stderr.puts(n.check_services.values.first)"
        )
        said = node.reported(ON + code)
    assert said.startswith("502" if before == "502" else f"no: 127.0.0.1:{port} refuses the connection")


def test_the_first_nginx_of_a_node_must_come(node: Node) -> None:
    """A node that had none, whose settings bring the registry's server block."""
    code = (
        "n = LocalNginx.new($order); "
        + conf(free_port())
        + "begin; n.check_nginx; rescue Failure => e; $stderr.puts e.message; end"
    )
    assert node.reported(ON + code) == "nginx on this node does not answer for gitlab.example.com\n"
