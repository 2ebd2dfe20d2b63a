"""The lab's AWS: moto, plus what it lacks when it enforces keys and policies.

Registries redirect clients to presigned URLs, but moto accepts only an Authorization header (it answers 500,
as for anonymous requests). This module checks a presigned request as S3 does
(https://docs.aws.amazon.com/AmazonS3/latest/API/sigv4-query-string-auth.html) and forwards it signed by
header, so that moto still applies the key's policies. Anonymous requests are refused.
"""

from __future__ import annotations

import datetime
import hashlib
import hmac
import json
import os
import re
import sys
import urllib.parse
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any
from wsgiref.types import StartResponse, WSGIApplication, WSGIEnvironment

from flask import has_request_context, request
from moto.iam.access_control import IAMPolicyStatement, PermissionResult
from moto.iam.models import iam_backends
from moto.moto_server.werkzeug_app import DomainDispatcherApplication, MotoRequestHandler, create_backend_app
from moto.s3.models import FakeBucket, FakeDeleteMarker, S3Backend
from moto.s3.responses import S3Response
from moto.sts.models import sts_backends
from werkzeug.serving import run_simple

from lab import aws_patches
from lab.authority import Authority
from lab.cloud import account, databases, faults, lets_encrypt
from lab.cloud.hypervisor import Hypervisor
from lab.services import AWS_ENDPOINT, PLAIN

ALGORITHM = "AWS4-HMAC-SHA256"
UNSIGNED = "UNSIGNED-PAYLOAD"
DATE_FORMAT = "%Y%m%dT%H%M%SZ"

AUTHORITY = Path("/run/lab/authority.pem")
SETTLE = "/moto-api/lab/settle"
"""Answers when the hosts match all earlier requests, with a list of what went wrong."""
FOLLOWED = re.compile(r"/(ec2|rds|route53)/aws4_request|/moto-api/reset$")
"""Requests that can change hosts, databases or names."""

Pairs = list[tuple[str, str]]


def signature(request: str, scope: str, amz_date: str, secret: str) -> str:
    """AWS signature version 4 of a canonical request; `scope` is "20260101/eu-west-1/s3/aws4_request"."""
    key = f"AWS4{secret}".encode()
    for part in scope.split("/"):
        key = hmac.digest(key, part.encode(), "sha256")
    digest = hashlib.sha256(request.encode()).hexdigest()
    return hmac.new(key, f"{ALGORITHM}\n{amz_date}\n{scope}\n{digest}".encode(), "sha256").hexdigest()


def canonical(method: str, path: str, query: Pairs, headers: Mapping[str, str]) -> str:
    """The canonical request with an unsigned payload; path and query are percent-encoded already."""
    fields = sorted(headers.items())
    lines = [method, path, "&".join(f"{name}={value}" for name, value in sorted(query))]
    lines += [*(f"{name}:{value.strip()}" for name, value in fields), ""]
    return "\n".join([*lines, ";".join(name for name, _ in fields), UNSIGNED])


def secret_of(access_key_id: str) -> str | None:
    """The secret of an access key that moto's IAM has created, for a user or for an assumed role."""
    for partitions in sts_backends.values():
        for sts in partitions.values():
            if assumed := sts.get_assumed_role_from_access_key(access_key_id):
                return str(assumed.secret_access_key)
    for backends in iam_backends.values():
        for backend in backends.values():
            for user in backend.users.values():
                for key in user.access_keys:
                    if key.access_key_id == access_key_id:
                        return str(key.secret_access_key)
    return None


class Refused(Exception):
    """An S3 error: its code, for the client."""


def sign_by_header(environ: WSGIEnvironment) -> None:
    """Check a presigned request and change it in place into one that an Authorization header signs."""
    path, _, raw = environ["RAW_URI"].partition("?")
    pairs = [(name, value) for name, _, value in (pair.partition("=") for pair in raw.split("&"))]
    values = {name: urllib.parse.unquote(value) for name, value in pairs}
    key_id, _, scope = values["X-Amz-Credential"].partition("/")
    amz_date = values["X-Amz-Date"]
    secret = secret_of(key_id)
    if secret is None:
        raise Refused("InvalidAccessKeyId")
    names = values["X-Amz-SignedHeaders"].split(";")
    signed = {name: environ[f"HTTP_{name.upper().replace('-', '_')}"] for name in names}
    query = [(name, value) for name, value in pairs if name != "X-Amz-Signature"]
    expected = signature(canonical(environ["REQUEST_METHOD"], path, query, signed), scope, amz_date, secret)
    if not hmac.compare_digest(expected, values["X-Amz-Signature"]):
        raise Refused("SignatureDoesNotMatch")
    made = datetime.datetime.strptime(amz_date, DATE_FORMAT).replace(tzinfo=datetime.UTC)
    if datetime.datetime.now(datetime.UTC) > made + datetime.timedelta(seconds=int(values["X-Amz-Expires"])):
        raise Refused("AccessDenied")

    rest = [(name, value) for name, value in pairs if not name.startswith("X-Amz-")]
    headers = {"host": environ["HTTP_HOST"], "x-amz-content-sha256": UNSIGNED, "x-amz-date": amz_date}
    if token := values.get("X-Amz-Security-Token"):
        headers["x-amz-security-token"] = environ["HTTP_X_AMZ_SECURITY_TOKEN"] = token
    proof = signature(canonical(environ["REQUEST_METHOD"], path, rest, headers), scope, amz_date, secret)
    environ["QUERY_STRING"] = "&".join(f"{name}={value}" for name, value in rest)
    environ["RAW_URI"] = environ["REQUEST_URI"] = f"{path}?{environ['QUERY_STRING']}".rstrip("?")
    environ["HTTP_X_AMZ_CONTENT_SHA256"], environ["HTTP_X_AMZ_DATE"] = UNSIGNED, amz_date
    environ["HTTP_AUTHORIZATION"] = (
        f"{ALGORITHM} Credential={key_id}/{scope}, SignedHeaders={';'.join(headers)}, Signature={proof}"
    )


def refuse_anonymous(environ: WSGIEnvironment) -> None:
    """Requests without a key have no permissions; moto's own pages are not AWS."""
    if "HTTP_AUTHORIZATION" not in environ and not environ["PATH_INFO"].startswith("/moto-api/"):
        raise Refused("AccessDenied")


def checked(moto: WSGIApplication, hypervisor: Hypervisor, authority: Authority) -> WSGIApplication:
    """Moto behind `sign_by_header`; unsigned requests are refused. The hypervisor is notified of changes.

    This also serves Let's Encrypt, which is behind the same TLS front.
    """

    failures = faults.Faults()

    def application(environ: WSGIEnvironment, start_response: StartResponse) -> Iterable[bytes]:
        if environ.get("HTTP_HOST") == lets_encrypt.HOST:
            return lets_encrypt.answer(authority, environ, start_response)
        if environ["PATH_INFO"] == faults.PATH:
            failures.order(environ)
            return _answer(start_response, "200 OK", "application/json", "{}")
        if failure := failures.due(environ):
            return _answer(start_response, failure[0], "text/xml", failure[1])
        if environ["PATH_INFO"] == SETTLE:
            return _answer(start_response, "200 OK", "application/json", json.dumps(hypervisor.settle()))
        try:
            if "X-Amz-Signature=" in environ.get("QUERY_STRING", ""):
                sign_by_header(environ)
            else:
                refuse_anonymous(environ)
        except (Refused, KeyError, ValueError) as error:
            code = str(error) if isinstance(error, Refused) else "AuthorizationQueryParametersError"
            text = f'<?xml version="1.0" encoding="UTF-8"?>\n<Error><Code>{code}</Code></Error>'
            return _answer(start_response, "403 Forbidden", "application/xml", text)
        answer = moto(environ, start_response)
        if FOLLOWED.search(str(environ.get("HTTP_AUTHORIZATION", environ["PATH_INFO"]))):
            hypervisor.touch()
        return answer

    return application


def _answer(start_response: StartResponse, status: str, kind: str, text: str) -> list[bytes]:
    body = text.encode()
    start_response(status, [("Content-Type", kind), ("Content-Length", str(len(body)))])
    return [body]


def judge_transport() -> None:
    """Make moto aware of which requests came over TLS; it treats every conditional Deny as unconditional.

    Only requests through the plain side of the front did not: the engine's endpoint represents AWS itself.
    """
    judge = IAMPolicyStatement.is_action_permitted

    def judged(self: IAMPolicyStatement, *arguments: Any, **named: Any) -> PermissionResult:
        over_tls = {"Bool": {"aws:SecureTransport": "false"}}
        plain = has_request_context() and PLAIN in request.headers
        if self._statement["Effect"] == "Deny" and self._statement.get("Condition") == over_tls and not plain:
            return PermissionResult.NEUTRAL
        return judge(self, *arguments, **named)

    IAMPolicyStatement.is_action_permitted = judged  # type: ignore[method-assign]


def judge_deletes() -> None:
    """Make moto authorize the deletion of several objects by the objects' names, as AWS does; it uses the
    bucket's.

    A registry only uses such requests, and a policy allows s3:DeleteObject on objects.
    """
    authorize = S3Response._authenticate_and_authorize_s3_action  # noqa: SLF001 (moto has no other place)

    def judged(self: S3Response, bucket_name: str | None = None, key_name: str | None = None) -> None:
        if self.data.get("Action") == "DeleteObject" and key_name is None:
            found = re.search(rb"<Key>(.*?)</Key>", self.body)
            key_name = found[1].decode() if found else None
        authorize(self, bucket_name, key_name)

    setattr(S3Response, authorize.__name__, judged)


def hide_deleted_folders() -> None:
    """Make moto omit folders whose objects are all deleted; in a versioned bucket it lists them."""
    listed = S3Backend.list_objects

    def hidden(self: S3Backend, bucket: FakeBucket, *arguments: Any, **named: Any) -> Any:
        keys, folders, *rest = listed(self, bucket, *arguments, **named)
        alive = [name for name, key in bucket.keys.items() if not isinstance(key, FakeDeleteMarker)]
        return keys, [one for one in folders if any(name.startswith(one) for name in alive)], *rest

    setattr(S3Backend, listed.__name__, hidden)


def main(address: str, port: int, lab_dir: Path) -> None:
    """Serve until killed."""
    # Under the lab's own name, the bucket is in the path, unless it is part of the host name.
    os.environ["MOTO_S3_CUSTOM_ENDPOINTS"] = AWS_ENDPOINT
    aws_patches.prepare()
    account.prepare()
    databases.prepare()
    judge_transport()
    judge_deletes()
    hide_deleted_folders()
    moto = DomainDispatcherApplication(create_backend_app)
    authority = Authority.load(AUTHORITY)
    hypervisor = Hypervisor(lab_dir, authority)
    hypervisor.start()
    application = checked(moto, hypervisor, authority)
    run_simple(address, port, application, threaded=True, request_handler=MotoRequestHandler)


if __name__ == "__main__":
    main(sys.argv[1], int(sys.argv[2]), Path(sys.argv[3]))
