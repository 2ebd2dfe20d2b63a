"""The layout `external`: London's registry is Debian's, set up by hand on a server without GitLab."""

from __future__ import annotations

import ast
from pathlib import Path

import yaml

from tests.lab.inside import inside

SCRIPT = """
    from lab.external_registry import AUDIT_LOG, CERTIFICATE, CONFIG, LOG, RESTART
    london, images = lab.host("london-1"), lab.host("london-images")
    config = images.read(CONFIG).decode()
    seen = {"config": config}
    seen["gitlab"] = [name for name in ("/opt/gitlab", "/etc/gitlab") if images.exists(name)]
    seen["registry on GitLab's node"] = london.exists("/var/opt/gitlab/registry/config.yml")
    seen["pushed"] = lab.push("london", "group/app:1") == lab.pull("london", "group/app:1")
    lab.wait(lambda: b"push group/app 1" in images.read(AUDIT_LOG), what="the auditors' line")
    seen["user"] = images.run("ps -o uid= -C docker-registry").stdout.split()
    seen["ssh"] = ssh("london-images", "sudo -n id -un; python3 -c 'print(1+1)'").split()

    def pid():
        return images.run("cat /etc/sv/docker-registry/supervise/pid").stdout.strip()
    def restart():
        before = pid()
        images.run(["sudo", "-n", RESTART], user="ubuntu")
        # runsv starts nothing twice within a second, so sv may be back before the new one is there.
        lab.wait(lambda: pid() not in ("", before), what="the restarted registry")
        return True
    def answers():
        images.wait_ready(10)
        return lab.http_status("https://registry.london.example.com/v2/")
    seen["restarted"] = restart(), answers(), lab.pull("london", "group/app:1") != ""

    images.write(CERTIFICATE, lab.host("tokyo-1").read("/var/opt/gitlab/registry/gitlab-registry.crt"))
    restart()
    answers()
    try:
        lab.pull("london", "group/app:1")
    except RuntimeError as error:
        seen["with a strange certificate"] = "unauthorized" in str(error)

    place = {"LocationConstraint": "eu-west-1"}
    lab.s3().create_bucket(Bucket="images", CreateBucketConfiguration=place)
    keys = f"accesskey: {lab.aws.access_key_id}, secretkey: {lab.aws.secret_access_key}"
    old = config[config.index("    filesystem:"):config.index("    delete:")]
    images.write(CERTIFICATE, london.read("/etc/gitlab/gitlab-secrets.json").decode()
                 .split('"internal_certificate": "')[1].split('"')[0].replace("\\\\n", "\\n"))
    images.write(CONFIG, config.replace(old, f"    s3: {{region: eu-west-1, bucket: images, {keys}}}\\n"))
    seen["on S3"] = restart(), answers(), lab.push("london", "group/app:2") == lab.pull("london", "group/app:2")
    seen["in the bucket"] = lab.s3().list_objects_v2(Bucket="images")["KeyCount"] > 0

    images.write(CONFIG, "version: 0.1\\nstorage: {nowhere: {}}\\n")
    images.run(RESTART, check=False)
    lab.wait(lambda: b"panic" in images.read(LOG), what="the refusal")
    seen["broken"] = lab.http_status("https://registry.london.example.com/v2/")
    lab.reset()
    seen["reset"] = images.read(CONFIG).decode() == config, answers(), lab.tags("london", "group/app")
    seen["tokyo"] = lab.push("tokyo", "group/app:1") == lab.pull("tokyo", "group/app:1")
    print(repr(seen))
"""


def test_london_s_registry_is_not_gitlab_s(tmp_path: Path) -> None:
    """It takes GitLab's tokens, tells the auditors, restarts on command, and can have its images on S3."""
    seen = ast.literal_eval(inside(tmp_path / "lab", "external", SCRIPT))
    config = yaml.safe_load(seen["config"])
    assert list(config["storage"]["filesystem"]) == ["rootdirectory", "maxthreads"]
    assert config["auth"]["token"]["rootcertbundle"] == "/etc/docker/registry/gitlab-registry.crt"
    assert [endpoint["name"] for endpoint in config["notifications"]["endpoints"]] == ["audit"]
    assert (seen["gitlab"], seen["registry on GitLab's node"]) == ([], False)
    assert seen["pushed"]
    assert seen["user"] == ["995"]
    assert seen["ssh"] == ["root", "2"]
    assert seen["restarted"] == (True, 401, True)
    assert seen["with a strange certificate"]
    assert seen["on S3"] == (True, 401, True)
    assert seen["in the bucket"]
    assert seen["broken"] == 0
    assert seen["reset"] == (True, 401, {})
    assert seen["tokyo"]
