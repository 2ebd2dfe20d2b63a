"""Makes the `*.json` beside it: what the engine really says about each kind of change, asked in the lab.

    python -m lab run --sites aws --here -- python tests/unit/golden/capture.py     (or --sites external)

Left out of it: ids, times, stack traces with paths, dependencies, outputs; the comment reads none of them.
Then `GOLDEN=write pytest tests/unit/test_comment.py`, and read the difference.
"""

from __future__ import annotations

import copy
import json
import re
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

HERE = Path(__file__).resolve().parent
sys.path.insert(0, str(HERE.parents[2]))

from lab.api import Lab  # noqa: E402
from tests.e2e.stack import Stack  # noqa: E402

Config = dict[str, Any]
KEPT = ("type", "inputs", "parent", "retainOnDelete", "protect")


def trimmed(text: str) -> dict[str, Any]:
    """The engine's JSON, with what tells of this machine and this run left out."""
    document = json.loads(text)
    steps = []
    for step in document["steps"]:
        of = {k: step[k] for k in ("op", "urn", "diffReasons", "replaceReasons") if step.get(k)}
        for side in ("oldState", "newState"):
            if step.get(side):
                of[side] = {k: step[side][k] for k in KEPT if step[side].get(k)}
        steps.append(of)
    # The order of steps that run side by side is by chance.
    whole = {**document, "steps": sorted(steps, key=lambda s: (s["urn"], s["op"]))}
    whole.pop("duration", None)
    # AWS' ids, and what the engine puts behind names.
    plain = re.sub(r"\b([a-z]{1,8}-)[0-9a-f]{17}\b", r"\g<1>0123456789abcdef0", json.dumps(whole))
    return dict(json.loads(re.sub(r'-[0-9a-f]{7}(?=")', "-1234567", plain)))


def take(stack: Stack, name: str, change: Callable[[Config], object] | None = None, *options: str) -> None:
    """Preview a change of the configuration, write the JSON, take the change back."""
    former = stack.file.read_text()
    if change:
        stack.configure(change)
    done = stack.lab.pulumi("preview", "--json", *options, stack=stack.name, check=False)
    stack.file.write_text(former)
    text = json.dumps(trimmed(done.stdout), indent=1, ensure_ascii=False, sort_keys=True)
    (HERE / f"{name}.json").write_text(f"{text}\n")
    print(name, done.returncode, flush=True)


def sydney(config: Config) -> None:
    site = copy.deepcopy(config["sites"]["tokyo"])
    site |= {"external_url": "https://gitlab.sydney.example.com"}
    site |= {"registry_url": "https://registry.sydney.example.com"}
    node = site["nodes"].pop("tokyo-1")
    site["nodes"]["sydney-1"] = {**node, "host": "10.30.0.11"}
    config["sites"]["sydney"] = site


def wrong(config: Config) -> None:
    config["sites"]["tokyo"]["registry_url"] += "/path"
    config["regions"] = {}


def existing(lab: Lab) -> None:
    stack = Stack(lab, "existing")
    take(stack, "first")
    stack.up()
    take(stack, "no-change")
    take(stack, "new-setting", lambda c: c["storage"]["s3"].update(options={"chunksize": 26214400}))
    take(stack, "one-node", lambda c: c.update(replication=False))
    take(stack, "new-secondary", sydney)
    take(stack, "removed-site", lambda c: c["sites"].pop("tokyo"))
    take(stack, "bucket-retained", lambda c: c["storage"]["s3"].update(create=False))
    take(stack, "bucket-changed", lambda c: c["storage"]["s3"].update(bucket="acme-images"))
    take(stack, "bucket-replaced", lambda c: c["storage"]["s3"].update(region="eu-west-2"))
    take(stack, "moved-node", lambda c: c["sites"]["tokyo"]["nodes"]["tokyo-1"].update(host="10.20.0.12"))
    take(stack, "promoted", lambda c: c.update(primary="tokyo"))
    take(stack, "rotated", lambda c: c.update(rotate={"notification_secret": 1}))
    take(stack, "wrong-configuration", wrong)
    lab.s3().delete_bucket_policy(Bucket="acme-gitlab-registry")
    take(stack, "drift", None, "--refresh")
    lab.reset()


def created(lab: Lab) -> None:
    stack = Stack(lab, "dev")
    stack.up()
    take(
        stack,
        "replaced-instance",
        lambda c: c["sites"]["tokyo"]["nodes"]["tokyo-1"].update(aws={"replace": 1}),
    )
    take(stack, "larger-instance", lambda c: c["sites"]["tokyo"]["aws"].update(instance_type="c6i.4xlarge"))
    stack.configure(lambda c: c["sites"]["tokyo"]["aws"].update(termination_protection=True))
    stack.up()
    take(stack, "protected-instance", lambda c: c["sites"].pop("tokyo"))


def external(lab: Lab) -> None:
    """In the layout of that name."""
    from tests.e2e.layouts.external import configure

    stack = Stack(lab, "replicated")
    stack.configure(configure)
    take(stack, "external-first")
    stack.up()
    take(stack, "external-issuer", lambda c: c.update(issuer="gitlab.example.com"))
    take(stack, "external-manual", lambda c: c["sites"]["london"].update(external_registry={}))


if __name__ == "__main__":
    running = Lab.current()
    if running.layout_name == "external":
        external(running)
    elif running.layout.sites:
        existing(running)
    else:
        created(running)
