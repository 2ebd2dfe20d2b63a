"""The AWS API behind the stand-in provider: one configuration per plugin process, one client per region."""

from __future__ import annotations

import json
import os
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any
from urllib.parse import urlparse

from lab.providers.aws import retries
from lab.providers.protocol import PropertyMap

_LAB = "aws.test"
"""The name of the lab's AWS."""
_GONE = ("NotFound", "NoSuch", "404")
_TITLES = {"route53": "Route 53"}
"""The AWS SDK for Go's names of services in errors, where they are not the name in capitals."""


class AwsError(Exception):
    """An error of the API, in the real provider's words; `code` is that of AWS, such as "BucketNotEmpty"."""

    def __init__(self, code: str, message: str) -> None:
        super().__init__(message)
        self.code = code

    @property
    def gone(self) -> bool:
        """Whether it says that the resource does not exist."""
        return any(part in self.code for part in _GONE)


class Api:
    """Credentials, region and endpoints; configured once from the provider's inputs and the environment."""

    def __init__(self) -> None:
        self.region: str | None = None
        self.account = ""
        self.default_tags: dict[str, str] = {}
        self.attempts = retries.ATTEMPTS
        self._endpoints: dict[str, str] = {}
        self._credentials: dict[str, str | None] = {}
        self._clients: dict[tuple[str, str], Any] = {}
        self._lock = threading.Lock()  # creating a client is not thread-safe in boto3

    def configure(self, config: PropertyMap) -> None:
        """Takes the provider's inputs; raises RuntimeError without credentials or outside the lab."""
        environment = os.environ
        self.region = (
            config.get("region") or environment.get("AWS_REGION") or environment.get("AWS_DEFAULT_REGION")
        )
        self.default_tags = (_decoded(config.get("defaultTags")) or {}).get("tags") or {}
        self.attempts = int(
            config.get("maxRetries") or environment.get("AWS_MAX_ATTEMPTS") or retries.ATTEMPTS
        )
        self._endpoints = {"": environment.get("AWS_ENDPOINT_URL", "")}
        for endpoints in _decoded(config.get("endpoints")) or []:
            self._endpoints.update(endpoints)
        for url in self._endpoints.values():
            _require_lab(url)
        self._credentials = {
            "aws_access_key_id": config.get("accessKey") or environment.get("AWS_ACCESS_KEY_ID"),
            "aws_secret_access_key": config.get("secretKey") or environment.get("AWS_SECRET_ACCESS_KEY"),
            "aws_session_token": config.get("token") or environment.get("AWS_SESSION_TOKEN"),
        }
        self._clients.clear()
        if not self._credentials["aws_access_key_id"] or not self._credentials["aws_secret_access_key"]:
            raise RuntimeError(
                "No valid credential sources found: set AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY"
            )
        if not self.region:
            raise RuntimeError(
                "Missing region configuration: set one with `pulumi config set aws:region eu-west-1`"
            )
        if _decoded(config.get("skipCredentialsValidation")) is not True:
            with self.errors("sts", "unable to validate AWS credentials"):
                self.account = self.client("sts").get_caller_identity()["Account"]

    def client(self, service: str, region: str | None = None) -> Any:
        """A boto3 client; `region` defaults to the provider's."""
        where = region or self.region or "us-east-1"
        with self._lock:
            if (service, where) not in self._clients:
                self._clients[service, where] = self._new_client(service, where)
            return self._clients[service, where]

    def _new_client(self, service: str, region: str) -> Any:
        import boto3
        from botocore.config import Config

        new_client: Any = boto3.client  # typed per service by its literal name; here the name is a variable
        client = new_client(
            service,
            region_name=region,
            endpoint_url=self._endpoints.get(service) or self._endpoints[""],
            config=Config(s3={"addressing_style": "path"}, retries={"total_max_attempts": 1}),
            **self._credentials,
        )
        retries.attach(client, self.attempts)
        if service == "s3control" and _loopback(client.meta.endpoint_url):
            # Like the real provider's client, it calls ACCOUNT-ID.HOST; on loopback this name does not exist.
            client.meta.events.register("before-sign.s3-control", self._without_account)
        return client

    def _without_account(self, request: Any, **_: Any) -> None:
        request.url = request.url.replace(f"//{self.account}.", "//", 1)

    @contextmanager
    def errors(self, service: str, doing: str) -> Iterator[None]:
        """Converts boto3's exceptions to AwsError; `doing` is, for example, "creating S3 Bucket (images)"."""
        from botocore.exceptions import BotoCoreError, ClientError

        try:
            yield
        except ClientError as problem:
            code = str(problem.response.get("Error", {}).get("Code", "Unknown"))
            raise AwsError(code, f"{doing}: {self._error_text(service, problem, code)}") from problem
        except BotoCoreError as problem:
            raise AwsError(type(problem).__name__, f"{doing}: {problem}") from problem

    def _error_text(self, service: str, problem: Any, code: str) -> str:
        """The error in the AWS SDK for Go's form, without "api error" if the service's model has the code."""
        from botocore.exceptions import ClientError

        answer = problem.response.get("ResponseMetadata", {})
        modeled = type(problem) is not ClientError
        exhausted = answer.get("RetryAttempts", 0) + 1 >= self.attempts > 1
        return (
            f"operation error {_TITLES.get(service, service.upper())}: {problem.operation_name}, "
            + (f"exceeded maximum number of attempts, {self.attempts}, " if exhausted else "")
            + f"https response error StatusCode: {answer.get('HTTPStatusCode')}, "
            f"RequestID: {answer.get('RequestId')}, {'' if modeled else 'api error '}{code}: "
            f"{problem.response.get('Error', {}).get('Message', '')}"
        )

    def found(self, service: str, doing: str, looking: Callable[[], Any]) -> Any | None:
        """The result of `looking`, or None if the API reports that the resource does not exist."""
        try:
            with self.errors(service, doing):
                return looking()
        except AwsError as problem:
            if problem.gone:
                return None
            raise


def _decoded(value: Any) -> Any:
    """Provider inputs other than strings are JSON."""
    return json.loads(value) if isinstance(value, str) and value else value


def _require_lab(url: str) -> None:
    if (urlparse(url).hostname or "") != _LAB and not _loopback(url):
        raise RuntimeError(
            f"the lab's stand-in for pulumi-aws talks only to the lab, not to {url or 'AWS itself'}: "
            f"AWS_ENDPOINT_URL must be on loopback or {_LAB}"
        )


def _loopback(url: str) -> bool:
    host = urlparse(url).hostname or ""
    return host in ("localhost", "::1") or host.startswith("127.")
