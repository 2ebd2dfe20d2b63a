"""The program on the node asks S3 as the registry does: by the same URL, signed as S3 checks it."""

from __future__ import annotations

import json
import subprocess
from typing import Any
from urllib.parse import urlsplit

import pytest
from botocore.auth import S3SigV4Auth
from botocore.awsrequest import AWSRequest
from botocore.credentials import Credentials

from components.node_program import SCRIPTS

pytestmark = pytest.mark.unit

ASK = """
%w[1_report 2_files 3_omnibus 4_registry 5_s3].each { |name| require File.join(ARGV[0], name) }
asked = nil
Http.define_singleton_method(:call) { |method, url, headers: {}, **| asked = [method, url, headers]; [200, '', {}] }
S3.new(JSON.parse(ARGV[1])).read
puts JSON.generate(asked)
"""
KEYS = {
    "access_key": "AKIAX",
    "secret_key": "secret",
    "bucket": "acme",
    "region": "eu-west-1",
    "path_style": False,
}


def asked(**access: Any) -> tuple[str, str, dict[str, str]]:
    """Method, URL and headers of the request by which the program finds out whether it may read."""
    given = json.dumps(KEYS | access)
    done = subprocess.run(
        ["ruby", "-e", ASK, str(SCRIPTS), given], capture_output=True, text=True, check=True, timeout=60
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
