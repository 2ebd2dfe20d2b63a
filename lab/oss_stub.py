"""A stand-in for Alibaba's storage, which has no emulator: it checks the signature, and has no objects."""

from __future__ import annotations

import base64
import hashlib
import hmac
from dataclasses import dataclass

from lab.cloud_proxy import Answer, Request


@dataclass(frozen=True)
class Alibaba:
    """The service, for one access key. It answers 403 to requests signed with another key."""

    access_key: str
    secret: str

    def answer(self, request: Request) -> Answer:
        bucket, date = request.host.partition(".")[0], request.headers.get("Date", "")
        text = f"{request.method}\n\n\n{date}\n/{bucket}/"
        mac = base64.b64encode(hmac.new(self.secret.encode(), text.encode(), hashlib.sha1).digest())
        kind = (("Content-Type", "application/xml"),)
        if request.headers.get("Authorization") != f"OSS {self.access_key}:{mac.decode()}":
            return Answer(403, b"<Error/>", kind)
        return Answer(200, f"<ListBucketResult><Name>{bucket}</Name></ListBucketResult>".encode(), kind)
