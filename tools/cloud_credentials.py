"""Short-lived AWS credentials for a job: the CI's own identity token, where AWS' SDKs look for it.

The SDKs of the engine and of the aws provider exchange the file that AWS_WEB_IDENTITY_TOKEN_FILE names
for credentials of the role AWS_ROLE_ARN, by themselves. So there is no key to keep, and no third party.
"""

from __future__ import annotations

import json
import os
import sys
import urllib.error
import urllib.request
from collections.abc import Mapping
from pathlib import Path

AUDIENCE = "sts.amazonaws.com"


def main(environ: Mapping[str, str] = os.environ) -> int:
    """Write the token; the exit status. Where no role is named, other credentials are meant to be used."""
    role, file = environ.get("AWS_ROLE_ARN"), environ.get("AWS_WEB_IDENTITY_TOKEN_FILE")
    if not role or not file:
        print("AWS_ROLE_ARN or AWS_WEB_IDENTITY_TOKEN_FILE is not set: see docs/ci.md", file=sys.stderr)
        return 1
    try:
        token = environ.get("AWS_ID_TOKEN") or _of_github(environ)
    except (OSError, ValueError, KeyError) as error:
        print(f"no identity token from GitHub: {error!r}; the job needs `id-token: write`", file=sys.stderr)
        return 1
    if not token:
        print(
            "no identity token: `id_tokens` (GitLab) or `id-token: write` (GitHub) is missing",
            file=sys.stderr,
        )
        return 1
    path = Path(file)
    path.unlink(missing_ok=True)
    with os.fdopen(os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600), "w") as out:
        out.write(token)
    print(f"This job is {role} for an hour at most.")
    return 0


def _of_github(environ: Mapping[str, str]) -> str:
    address = environ.get("ACTIONS_ID_TOKEN_REQUEST_URL")
    if not address:
        return ""
    headers = {"Authorization": f"Bearer {environ['ACTIONS_ID_TOKEN_REQUEST_TOKEN']}"}
    request = urllib.request.Request(f"{address}&audience={AUDIENCE}", headers=headers)  # noqa: S310
    with urllib.request.urlopen(request, timeout=30) as answer:  # noqa: S310
        return str(json.load(answer)["value"])


if __name__ == "__main__":
    sys.exit(main())
