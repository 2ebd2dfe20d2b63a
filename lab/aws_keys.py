"""KMS authorization as in AWS, which moto lacks: permissions for one key, and refusals that an SDK can read.

moto evaluates all KMS actions against the resource "*", so permissions for one key allow nothing, and it
refuses in XML although SDKs expect JSON
(https://docs.aws.amazon.com/kms/latest/APIReference/CommonErrors.html).
"""

from __future__ import annotations

import base64
import json

from moto.core.exceptions import JsonRESTError
from moto.iam.access_control import IAMRequest
from moto.kms.responses import KmsResponse
from moto.kms.utils import _deserialize_ciphertext_blob


def prepare() -> None:
    """Change moto, before it serves its first request."""
    KmsResponse._determine_resource = _key_of  # type: ignore[attr-defined]  # noqa: SLF001 (moto asks for this one)
    _refuse_in_json()


def _key_of(self: KmsResponse) -> str:
    """The ARN of the key that a request names, or that encrypted its ciphertext; "*" if there is none."""
    asked = json.loads(self.body or "{}")
    key = asked.get("KeyId") or asked.get("TargetKeyId")
    try:
        if blob := asked.get("CiphertextBlob"):
            key = _deserialize_ciphertext_blob(base64.b64decode(blob)).key_id
        return str(self.kms_backend.describe_key(key).arn) if key else "*"
    except (KeyError, ValueError, AttributeError):  # no such key, alias or ciphertext: the action reports it
        return "*"


def _refuse_in_json() -> None:
    refuse = IAMRequest._raise_access_denied  # noqa: SLF001 (moto has no other place)

    def refused(self: IAMRequest) -> None:
        if self._service != "kms":
            refuse(self)
        message = f"User: {self._access_key.arn} is not authorized to perform: {self._action}"
        raise JsonRESTError("AccessDeniedException", message)

    IAMRequest._raise_access_denied = refused  # type: ignore[method-assign]  # noqa: SLF001
