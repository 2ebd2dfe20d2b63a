"""Both CIs' files, the role's policy and its trust: what they say, held against what make and AWS have."""

from __future__ import annotations

import json
import os
import re
import subprocess
import tomllib
from pathlib import Path
from typing import Any

import pytest
import yaml

from tools import ci_lint as lint
from tools import ci_setup as setup
from tools import debian, engine
from tools.comment import __main__ as comment

ROOT = Path(__file__).resolve().parents[2]
GITLAB: dict[str, Any] = yaml.safe_load((ROOT / lint.GITLAB).read_text())
# YAML 1.1 reads the key `on` as true; GitHub does not.
GITHUB: dict[Any, Any] = yaml.safe_load((ROOT / lint.GITHUB).read_text())
STATUS: dict[Any, Any] = yaml.safe_load((ROOT / lint.GITHUB_STATUS).read_text())
JOBS = ("check", "subjects", "preview", "preview-from-fork", "status", "apply")


def commands(job: str) -> dict[str, list[str]]:
    """CI → the commands of that job."""
    jobs = GITHUB["jobs"] | STATUS["jobs"]
    return {
        "gitlab": list(GITLAB[job]["script"]),
        "github": [step["run"] for step in jobs[job]["steps"] if "run" in step],
    }


@pytest.mark.parametrize(
    "command", lint.commands(), ids=lambda c: " ".join(Path(part).name for part in c[:3])
)
def test_the_files_are_what_the_forges_take(command: list[str]) -> None:
    """Their schemas, and actionlint (with shellcheck on every step) where there is a Go to build it with."""
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout + done.stderr


@pytest.mark.parametrize("job", JOBS)
def test_both_cis_run_the_same_and_a_person_can_too(job: str) -> None:
    """Every command is a target of make, which make accepts."""
    of = commands(job)
    assert [c.partition(" | tee")[0] for c in of["github"]] == of["gitlab"]
    for command in of["gitlab"]:
        assert re.fullmatch(r"make [a-z-]+", command)
        # make accepts a name of .PHONY without a rule, and does nothing.
        assert f"\n{command.split()[1]}:" in (ROOT / "Makefile").read_text()
        done = subprocess.run(
            [*command.split(), "-n", "STACK=x"], cwd=ROOT, capture_output=True, text=True, check=False
        )
        assert done.returncode == 0, done.stderr


def test_the_checks_run_on_each_python_that_the_program_supports() -> None:
    """From the one that pyproject.toml requires on; linter and types keep to that one."""
    (matrix,) = GITLAB["check"]["parallel"]["matrix"]
    job = GITHUB["jobs"]["check"]
    ((variable, versions),) = matrix.items()
    assert f"\n{variable} ?=" not in (ROOT / "Makefile").read_text(), "make would take it for its own"
    assert versions == job["strategy"]["matrix"]["python"] == ["3.11", "3.12", "3.13"]
    image = GITLAB["check"]["image"]
    assert job["container"] == image.replace(f"${variable}", "${{ matrix.python }}") != image
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())
    assert project["project"]["requires-python"] == f">={versions[0]}"
    assert project["tool"]["mypy"]["python_version"] == versions[0]
    assert project["tool"]["ruff"]["target-version"] == "py" + versions[0].replace(".", "")
    assert ", ".join(versions[:-1]) + f" and {versions[-1]}" in (ROOT / "docs/ci.md").read_text()


def test_the_steps_that_need_no_engine_run(tmp_path: Path) -> None:
    """A fork learns why it has no preview; a job's identity is put where the SDKs look."""
    target = {
        "AWS_ROLE_ARN": "r",
        "AWS_WEB_IDENTITY_TOKEN_FILE": str(tmp_path / "identity"),
        "AWS_ID_TOKEN": "t",
    }
    for step, says in (("preview-of-fork", "No preview for a fork"), ("cloud-credentials", "This job is r")):
        done = subprocess.run(
            ["make", "-o", "setup", step],
            cwd=ROOT,
            env={**os.environ, **target},
            capture_output=True,
            text=True,
            check=False,
        )
        assert done.returncode == 0 and says in done.stdout, done.stderr
    assert (tmp_path / "identity").read_text() == "t"


def test_actions_are_pinned_by_commit_and_keep_no_token() -> None:
    """A tag can be moved; a checkout that keeps its token leaves it to the program of the pull request."""
    text = "".join((ROOT / name).read_text() for name in (lint.GITHUB, lint.GITHUB_STATUS))
    used = re.findall(r"uses: (.*)", text)
    assert used
    assert all(re.fullmatch(r"[\w./-]+@[0-9a-f]{40} # v\d+\.\d+\.\d+", one) for one in used), used
    assert text.count("persist-credentials: false") == len(used)


def test_forks_get_no_secret_and_no_identity() -> None:
    """`pull_request` of a fork has neither; what has is for this project's own branches or its main only."""
    assert set(GITHUB[True]) == {"pull_request", "push"}, (
        "pull_request_target would run a fork's code with secrets"
    )
    own = "github.event.pull_request.head.repo.full_name == github.repository"
    for name, job in GITHUB["jobs"].items():
        secret = "secrets." in json.dumps(job) or "id-token" in job.get("permissions", {})
        assert secret == (name in ("preview", "apply"))
    assert own in GITHUB["jobs"]["preview"]["if"]
    assert GITHUB["jobs"]["apply"]["if"] == "github.event_name == 'push'"
    assert GITHUB["permissions"] == {"contents": "read"}
    same = "$CI_MERGE_REQUEST_SOURCE_PROJECT_ID == $CI_MERGE_REQUEST_PROJECT_ID"
    assert same in GITLAB["preview"]["rules"][0]["if"]
    assert same.replace("==", "!=") in GITLAB["preview-from-fork"]["rules"][0]["if"]
    assert {name for name in JOBS if "id_tokens" in GITLAB[name]} == {"preview", "status", "apply"}


def test_a_schedule_runs_the_status_alone_and_reports_differences() -> None:
    """In both, with the environment of a preview; a schedule runs on a branch of the project."""
    scheduled = 'if: $CI_PIPELINE_SOURCE == "schedule"'.removeprefix("if: ")
    assert GITLAB["status"]["rules"] == [{"if": scheduled}]
    assert GITLAB["check"]["rules"] == [{"if": scheduled.replace("==", "!=")}]
    assert GITLAB["apply"]["rules"][0] == {"if": scheduled, "when": "never"}
    assert all("merge_request" in json.dumps(GITLAB[job]["rules"]) for job in ("subjects", "preview"))
    assert set(STATUS[True]) == {"schedule", "workflow_dispatch"}
    assert STATUS["permissions"] == {"contents": "read"}
    job = STATUS["jobs"]["status"]
    assert job["environment"] == GITLAB["status"]["environment"]["name"] == "preview"
    assert job["steps"][-1]["env"]["DIFFERENCES"] == GITLAB["status"]["variables"]["DIFFERENCES"] == "1"


def test_applying_waits_for_an_approval_on_the_default_branch_one_at_a_time() -> None:
    """In both; and no newer pipeline cuts it off."""
    apply = GITLAB["apply"]
    assert apply["rules"][1:] == [{"if": "$CI_COMMIT_BRANCH == $CI_DEFAULT_BRANCH", "when": "manual"}]
    assert apply["environment"]["name"] and apply["resource_group"] and apply["interruptible"] is False
    assert GITHUB["jobs"]["apply"]["environment"] == "production"
    assert GITHUB["jobs"]["apply"]["concurrency"] == "apply"
    assert GITHUB[True]["push"] == {"branches": ["main"]}


def policy(name: str) -> list[dict[str, Any]]:
    statements: list[dict[str, Any]] = json.loads((ROOT / "ci" / name).read_text())["Statement"]
    return statements


def test_the_preview_role_can_only_look() -> None:
    """Named actions that describe, get or list; objects and keys only of the state, no content of a registry."""
    for statement in policy("preview-role.json"):
        actions, where = statement["Action"], json.dumps(statement["Resource"])
        assert statement["Effect"] == "Allow"
        assert all(
            re.fullmatch(r"[a-z0-9]+:(Describe|Get|List)\w+|kms:Decrypt", action) for action in actions
        )
        if "kms:Decrypt" in actions:
            assert actions == ["kms:Decrypt"] and "STATE-KEY" in where
        if "s3:GetObject" in actions:
            assert "STATE-BUCKET/.pulumi/*" in where and "REGISTRY" not in where
        if any(action.startswith(("s3:", "iam:")) for action in actions):
            assert '"*"' not in where


def test_the_applying_role_is_held_to_names_and_tags() -> None:
    """No action by a pattern, nothing on everything but looking, EC2 by the stack's tag, and no way to hand on itself."""
    tag = {"gitlab-geo-registry"}
    free = {
        "SitesTagAtCreation",
        "SitesStartFrom",
        "SitesAssociateAddresses",
        "SitesRevokeOtherRules",
    }
    for statement in policy("up-role.json"):
        actions = [statement["Action"]] if isinstance(statement["Action"], str) else statement["Action"]
        where, condition = json.dumps(statement["Resource"]), statement.get("Condition", {})
        assert actions == sorted(actions) and not any("*" in action for action in actions)
        if '"*"' in where:
            assert all(re.fullmatch(r"ec2:Describe\w+", action) for action in actions)
        elif actions[0].startswith("ec2:") and statement["Sid"] not in free:
            assert set(condition["StringEquals"].values()) == tag
        elif actions[0].startswith("rds:"):
            named = [one for one in statement["Resource"] if ":og:default:" not in one]
            assert named and all("-database-" in one for one in named)
        elif actions == ["iam:CreateServiceLinkedRole"]:
            assert condition == {"StringEquals": {"iam:AWSServiceName": "rds.amazonaws.com"}}
        elif actions[0].startswith("iam:"):
            assert re.search("-instances-|-storage-user-", where) and not re.search(r"/\*\"", where)
        if "iam:PassRole" in actions:
            assert actions == ["iam:PassRole"] and "ec2.amazonaws.com" in json.dumps(condition)
    everything = json.dumps(policy("up-role.json"))
    for never in (
        "DeleteBucket",
        "AttachRolePolicy",
        "s3:GetObject",
        "CreatePolicy",
        "PutBucketAcl",
        "DeleteDBSnapshot",
    ):
        assert never not in everything
    # All inline policies of a role together, without white space (IAM quotas).
    both = [(ROOT / "ci" / name).read_text() for name in ("preview-role.json", "up-role.json")]
    assert sum(len(re.sub(r"\s", "", text)) for text in both) < 10240


CALLED = """
ec2 AllocateAddress AssociateAddress AssociateRouteTable AttachInternetGateway AuthorizeSecurityGroupEgress
AuthorizeSecurityGroupIngress CreateInternetGateway CreateRoute CreateRouteTable CreateSecurityGroup CreateSubnet CreateTags
CreateVpc DeleteInternetGateway DeleteKeyPair DeleteRoute DeleteRouteTable DeleteSecurityGroup DeleteSubnet DeleteTags
DeleteVpc DescribeNetworkInterfaces DescribeVolumesModifications DetachInternetGateway DisassociateAddress
DisassociateRouteTable ImportKeyPair ModifyInstanceAttribute ModifyInstanceMetadataOptions ModifySecurityGroupRules
ModifyVolume ModifyVpcAttribute ReleaseAddress RevokeSecurityGroupEgress RevokeSecurityGroupIngress RunInstances
StartInstances StopInstances TerminateInstances
iam AddRoleToInstanceProfile CreateAccessKey CreateInstanceProfile CreateRole CreateUser DeleteInstanceProfile DeleteRole
DeleteRolePolicy ListInstanceProfilesForRole PutRolePolicy PutUserPolicy RemoveRoleFromInstanceProfile TagInstanceProfile
TagRole UpdateAssumeRolePolicy PassRole TagUser DeleteUser DeleteUserPolicy DeleteAccessKey
route53 ChangeResourceRecordSets GetChange
s3 CreateBucket PutBucketOwnershipControls PutBucketPolicy PutBucketPublicAccessBlock PutBucketVersioning
PutEncryptionConfiguration PutLifecycleConfiguration TagResource UntagResource
"""
"""What the real provider called in `up`, change and destroy, beside what it calls in a preview with --refresh; and what
nobody saw as a request but AWS asks for."""


DATABASES = """
rds AddTagsToResource CreateDBInstance CreateDBParameterGroup CreateDBSnapshot CreateDBSubnetGroup DeleteDBInstance
DeleteDBParameterGroup DeleteDBSubnetGroup ModifyDBInstance ModifyDBParameterGroup ModifyDBSubnetGroup RemoveTagsFromResource
ResetDBParameterGroup
iam CreateServiceLinkedRole
"""
"""What the real provider's source calls for a database, and what AWS asks for besides."""


def test_the_applying_role_may_do_all_that_the_real_provider_calls() -> None:
    allowed = {
        action
        for s in policy("up-role.json")
        for action in (s["Action"] if isinstance(s["Action"], list) else [s["Action"]])
    }
    service = ""
    for word in (CALLED + DATABASES).split():
        service = word if word.islower() or word == "s3" else service
        assert word == service or f"{service}:{word}" in allowed, word


@pytest.mark.parametrize("forge", ["gitlab", "github"])
def test_only_this_project_can_become_the_role(forge: str) -> None:
    """Audience and subject are both asked for: without a subject every project of the forge could."""
    (statement,) = policy(f"preview-role-trust-{forge}.json")
    assert statement["Action"] == "sts:AssumeRoleWithWebIdentity"
    asked = {
        key.rpartition(":")[2]: value
        for test in statement["Condition"].values()
        for key, value in test.items()
    }
    assert asked["aud"] == "sts.amazonaws.com" == GITLAB["preview"]["id_tokens"]["AWS_ID_TOKEN"]["aud"]
    assert asked["sub"].startswith(
        ("project_path:GROUP/PROJECT:", "repo:OWNER/REPOSITORY:environment:preview")
    )


def test_the_comment_needs_no_pulumi() -> None:
    """The comment is made from text: a machine with Python alone can make it."""
    for file in (ROOT / "tools/comment").glob("*.py"):
        assert not re.search(
            r"^\s*(import|from) (pulumi|components|omnibus|config)\b", file.read_text(), re.MULTILINE
        )


def test_the_page_names_what_there_is() -> None:
    """Targets, exit statuses, files, statements and variables of docs/ci.md are those of the files."""
    page = (ROOT / "docs/ci.md").read_text()
    makefile = (ROOT / "Makefile").read_text()
    for target in set(re.findall(r"make ([a-z-]+)", page)):
        assert f"\n{target}:" in makefile
    for file in re.findall(r"`(ci/[\w.-]+|\.git[\w./-]+)`", page):
        assert (ROOT / file).exists(), file
    for statement in [*policy("preview-role.json"), *policy("up-role.json")]:
        assert statement["Sid"] in page or statement["Sid"].startswith(("Refresh", "Sites"))
    used = set(re.findall(r"\$([A-Z]\w+ROLE_ARN)", (ROOT / lint.GITLAB).read_text()))
    used |= set(re.findall(r"(?:vars|secrets)\.(\w+)", (ROOT / lint.GITHUB).read_text()))
    assert len(used) == 5
    for name in {*used, "PREVIEW_COMMENT_TOKEN"}:
        assert f"`{name}`" in page
    for code in (comment.SAME, comment.CHANGE, comment.DESTRUCTIVE, comment.ERROR):
        assert f"\n| {code} |" in page


def test_without_the_lab_only_what_the_checks_need_is_installed(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """As root; a non-root user gets the command. No namespace is tried."""
    ran: list[list[str]] = []
    monkeypatch.setattr(setup, "run", lambda command, **_: ran.append(command))
    monkeypatch.setattr(setup, "ensure_venv", lambda *_: tmp_path)
    monkeypatch.setattr(engine, "ensure_engine", lambda *_: "the engine")
    monkeypatch.setattr(debian, "missing_packages", lambda: ["runit", "ruby", "nftables"])
    monkeypatch.setattr(os, "geteuid", lambda: 0)
    assert setup.main(tmp_path) == 0
    assert ran[-1][-1] == "ruby" and "runit" not in ran[-1]
    monkeypatch.setattr(os, "geteuid", lambda: 1000)
    assert setup.main(tmp_path) == 1
    assert "apt-get install --no-install-recommends ruby" in capsys.readouterr().err
