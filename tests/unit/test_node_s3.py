"""The program on the node asks S3 as the registry does: by the same URL, signed as S3 checks it."""

from __future__ import annotations

import json
import ssl
import subprocess
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import pytest
from botocore.auth import S3SigV4Auth
from botocore.awsrequest import AWSRequest
from botocore.credentials import Credentials

from config.parsing import parse
from hosts.programs import GITLAB_NODE
from omnibus.ruby import filled
from plan import storage
from tests.configurations import certificate, deployment, per_site
from tests.ruby import LOAD

ASK = (
    LOAD
    + """
asked = nil
Http.define_singleton_method(:call) { |method, url, headers: {}, **| asked = [method, url, headers]; [200, '', {}] }
S3.new(JSON.parse(ARGV[1])).read
puts JSON.generate(asked)
"""
)
KEYS = {
    "access_key": "AKIAX",
    "secret_key": "secret",
    "bucket": "acme",
    "region": "eu-west-1",
    "path_style": False,
}


def asked(**access: Any) -> tuple[str, str, dict[str, str]]:
    """Method, URL and headers of the request by which the program finds out whether it may read."""
    provided = json.dumps(KEYS | access)
    done = subprocess.run(
        ["ruby", "-e", ASK, str(GITLAB_NODE), provided],
        capture_output=True,
        text=True,
        check=True,
        timeout=60,
    )
    method, url, headers = json.loads(done.stdout)
    return method, url, headers


@pytest.mark.parametrize(
    ("access", "url"),
    [
        ({}, "https://acme.s3.eu-west-1.amazonaws.com/"),
        ({"region": "cn-north-1"}, "https://acme.s3.cn-north-1.amazonaws.com.cn/"),
        ({"path_style": True}, "https://s3.eu-west-1.amazonaws.com/acme/"),
        ({"bucket": "a.b"}, "https://s3.eu-west-1.amazonaws.com/a.b/"),
        ({"endpoint": "https://minio.example.com:9000/"}, "https://acme.minio.example.com:9000/"),
        ({"endpoint": "http://minio.example.com", "bucket": "a.b"}, "http://a.b.minio.example.com/"),
        ({"endpoint": "https://minio.example.com", "path_style": True}, "https://minio.example.com/acme/"),
        ({"endpoint": "https://[fd00::1]:9000", "path_style": True}, "https://[fd00::1]:9000/acme/"),
        ({"endpoint": "https://[fd00::1]", "path_style": True}, "https://[fd00::1]/acme/"),
    ],
)
def test_the_bucket_stands_where_the_registry_puts_it(access: dict[str, Any], url: str) -> None:
    """In the host's name by default, in the path where it is said or where no certificate would cover the name."""
    _, found, headers = asked(**access)
    assert found.partition("?")[0] == url
    assert headers["host"] == urlsplit(url).netloc


@pytest.mark.parametrize("access", [{}, {"path_style": True}, {"endpoint": "http://minio.example.com:9000"}])
def test_it_is_signed_as_aws_sdk_signs_it(access: dict[str, Any]) -> None:
    """Host and path are part of what is signed: S3 refuses everything else as SignatureDoesNotMatch."""
    method, url, headers = asked(**access)
    credentials = Credentials("AKIAX", "secret")
    signer = S3SigV4Auth(credentials, "s3", "eu-west-1")
    signed = {name: value for name, value in headers.items() if name != "authorization"}
    request = AWSRequest(method.upper(), url, headers=signed)
    request.context["timestamp"] = headers["x-amz-date"]
    text = signer.string_to_sign(request, signer.canonical_request(request))
    assert headers["authorization"].endswith(f"Signature={signer.signature(text, request)}")


PROVE = (
    LOAD
    + """
require 'net/http'
# The server's name leads to this machine, as it would by DNS.
Net::HTTP.class_eval { def conn_address = '127.0.0.1' }
access = JSON.parse(ARGV[1])
begin
  puts JSON.generate(Storage.permissions('site' => 'tokyo', 'storage' => access))
rescue Failure => e
  puts "#{e.message}: #{e.cause_text}"
end
"""
)


@contextmanager
def virtual_hosted(pem: Path | None = None) -> Iterator[int]:
    """The port of an S3 server that knows buckets by a host's name alone, as some providers' do. `pem`: by TLS."""

    class Server(BaseHTTPRequestHandler):
        def _answer(self) -> None:
            host, _, port = self.headers["Host"].partition(":")
            bucket = host == "acme.s3.test" and int(port) == server.server_port
            body = b"<UploadId>1</UploadId>" if bucket else b"<Code>InvalidBucketName</Code>"
            self.send_response(200 if bucket else 400)
            self.send_header("Content-Length", str(len(body)))
            self.end_headers()
            self.wfile.write(body)

        do_GET = do_POST = do_DELETE = _answer  # noqa: N815 (the library's names)

        def log_message(self, format: str, *args: Any) -> None:
            """Says nothing."""

    server = ThreadingHTTPServer(("127.0.0.1", 0), Server)
    if pem:
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        context.load_cert_chain(pem)
        server.socket = context.wrap_socket(server.socket, server_side=True)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    yield server.server_port
    server.shutdown()
    server.server_close()


def proven(endpoint: str, options: dict[str, Any]) -> str:
    """What the program on the node says of the permissions at that server."""
    raw = per_site()
    place = {"bucket": "acme", "region": "x", "create": False, "endpoint": endpoint, "options": options}
    raw["sites"]["tokyo"] |= {"storage": place, "s3_keys": {"access_key": "AKIAX", "secret_key": "secret"}}
    assert parse(raw)[1] == []
    keys = {"s3_access_key": "AKIAX", "s3_secret_key": "secret"}
    access = filled(storage.access(deployment(raw), "tokyo"), keys)
    done = subprocess.run(
        ["ruby", "-e", PROVE, str(GITLAB_NODE), json.dumps(access | {"patience": 0})],
        capture_output=True, text=True, check=True, timeout=60,
    )  # fmt: skip
    return done.stdout


def test_a_server_that_knows_no_bucket_in_a_path_is_asked_by_the_hosts_name() -> None:
    """With `pathstyle: false`, as the registry needs it there; without it the registry would be refused as well."""
    with virtual_hosted() as port:
        assert "can be read and written" in proven(f"http://s3.test:{port}", {"pathstyle": False})
        assert "400 InvalidBucketName" in proven(f"http://s3.test:{port}", {})


def test_a_certificate_that_the_registry_does_not_verify_is_not_verified_here(tmp_path: Path) -> None:
    """With `skipverify: true` alone."""
    pair = certificate("s3.test")
    pem = tmp_path / "s3.pem"
    pem.write_text(pair["certificate"] + pair["private_key"])
    with virtual_hosted(pem) as port:
        options = {"pathstyle": False}
        assert "can be read and written" in proven(f"https://s3.test:{port}", options | {"skipverify": True})
        assert "certificate" in proven(f"https://s3.test:{port}", options)
