"""The lab's services for its hosts: DNS, AWS (moto) behind a TLS front, the operator's ssh-agent."""

from __future__ import annotations

import json
import os
import re
import socket
import subprocess
import sys
import time
import urllib.parse
import urllib.request
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

from lab import gitlab_registry
from lab.authority import Authority
from lab.cloud.names import PID_FILE, RECORDS
from lab.rootfs import write
from lab.sites import SERVICES_ADDRESS, Layout

PLAIN = "X-Lab-Without-Tls"
"""The header of requests that reached AWS without TLS."""
AWS_NAME = "aws.test"
"""The lab's AWS by name: the host of S3 Control is ACCOUNT-ID.NAME, which is impossible with an address."""
AWS_ENDPOINT = f"http://{AWS_NAME}:5000"
AWS_ADDRESS = f"http://{SERVICES_ADDRESS}:5000"
"""The same for the lab itself, while there is no DNS yet."""
REGIONS = ("eu-west-1", "eu-west-2", "ap-northeast-1", "us-east-1", "mx-central-1")
# Services do not get the user's environment: a stray AWS_* or proxy variable would change their behavior.
CLEAN = {"PATH": "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin", "LANG": "C.UTF-8"}


@dataclass(frozen=True)
class Credentials:
    """An AWS access key pair."""

    access_key_id: str
    secret_access_key: str


def spawn(command: Sequence[str], log: Path, env: dict[str, str] | None = None) -> subprocess.Popen[bytes]:
    """Start a service in its own session, so that a Ctrl-C for the user's command does not reach it."""
    log.parent.mkdir(parents=True, exist_ok=True)
    with log.open("ab") as output:
        return subprocess.Popen(
            command,
            stdin=subprocess.DEVNULL,
            stdout=output,
            stderr=output,
            env={**CLEAN, "HOME": "/root", **(env or {})},
            start_new_session=True,
        )


def wait_for(ready: Callable[[], object], what: str, seconds: float, step: float = 0.02) -> float:
    """Poll until `ready()` is true and return the seconds it took; TimeoutError says what was not ready."""
    started = time.monotonic()
    while not ready():
        if time.monotonic() - started > seconds:
            raise TimeoutError(f"{what} was not ready after {seconds:g} s")
        time.sleep(step)
    return time.monotonic() - started


def wait_for_service(
    process: subprocess.Popen[bytes], ready: Callable[[], object], what: str, log: Path
) -> None:
    """Wait until a service is ready; RuntimeError with the end of its log if it ends or takes too long."""
    try:
        wait_for(lambda: ready() or process.poll() is not None, what, 30)
        failed = process.poll() is not None
    except TimeoutError:
        failed = True
    if failed:
        end = "\n".join(log.read_text(errors="replace").splitlines()[-10:])
        raise RuntimeError(f"{what} did not start, its log ends with:\n{end}")


def listening(address: str, port: int) -> bool:
    """Whether something accepts TCP connections at this address."""
    try:
        socket.create_connection((address, port), timeout=1).close()
    except OSError:
        return False
    return True


def http_status(url: str, address: str | None = None) -> int:
    """The status of a GET, sent to `address` if set, regardless of DNS; 0 without an answer."""
    command = ["curl", "--silent", "--max-time", "10", "--output", os.devnull, "--write-out", "%{http_code}"]
    if address is not None:
        command += ["--connect-to", f"::{address}:"]
    done = subprocess.run([*command, url], check=False, env=CLEAN, capture_output=True, text=True)
    return int(done.stdout or 0)


def start_dns(layout: Layout, log: Path) -> None:
    """Resolve the sites, every *.amazonaws.com and the hosts; any other name does not exist."""
    names = {name: [SERVICES_ADDRESS] for name in (AWS_NAME, "amazonaws.com", "letsencrypt.org")}
    # A unified URL resolves to the first site for the workstation and for hosts outside the sites.
    for site in reversed(layout.sites):
        names |= site.names
    names |= {site.database_host: [layout.database_address(site)] for site in layout.sites}
    names |= {node.name: [node.address] for _, node in layout.nodes()}
    options = [f"--address=/{name}/{address}" for name, known in names.items() for address in known]
    options += ["--address=/#/"]
    RECORDS.touch()
    command = ["dnsmasq", "--keep-in-foreground", "--user=root", "--conf-file=/dev/null"]
    command += [
        f"--pid-file={PID_FILE}",
        f"--addn-hosts={RECORDS}",
        "--no-resolv",
        "--no-hosts",
        "--bind-interfaces",
        f"--listen-address={SERVICES_ADDRESS},127.0.0.1",
    ]
    process = spawn([*command, *options], log)
    wait_for_service(process, lambda: listening(SERVICES_ADDRESS, 53), "the lab's DNS", log)


def start_front(authority: Authority, directory: Path, log: Path) -> None:
    """AWS and Let's Encrypt under their real names, without any regionendpoint: over TLS, and S3 also
    without.
    """
    names = [
        "acme-v02.api.letsencrypt.org",
        "s3.amazonaws.com",
        "*.s3.amazonaws.com",
        "iam.amazonaws.com",
        "sts.amazonaws.com",
    ]
    for region in REGIONS:
        names += [f"s3.{region}.amazonaws.com", f"*.s3.{region}.amazonaws.com", f"sts.{region}.amazonaws.com"]
    issued = authority.issue(names)
    write(directory / "aws.crt", issued.certificate)
    write(directory / "aws.key", issued.key, 0o600)
    temporary = "\n".join(
        f"  {kind}_temp_path {directory}/{kind};"
        for kind in ("client_body", "proxy", "fastcgi", "uwsgi", "scgi")
    )
    config = f"""\
daemon off;
user root;
worker_processes 1;
pid {directory}/nginx.pid;
error_log stderr warn;
events {{ worker_connections 512; }}
http {{
  access_log off;
{temporary}
  server {{
    listen {SERVICES_ADDRESS}:80;
    client_max_body_size 0;
    location / {{
      proxy_pass {AWS_ADDRESS};
      proxy_http_version 1.1;
      proxy_set_header Host $http_host;
      proxy_set_header {PLAIN} yes;
      proxy_set_header Connection "";
    }}
  }}
  server {{
    listen {SERVICES_ADDRESS}:443 ssl;
    ssl_certificate {directory}/aws.crt;
    ssl_certificate_key {directory}/aws.key;
    client_max_body_size 0;
    location / {{
      proxy_pass {AWS_ADDRESS};
      proxy_http_version 1.1;
      proxy_set_header Host $http_host;
      proxy_set_header Connection "";
    }}
  }}
}}
"""
    write(directory / "nginx.conf", config)
    process = spawn(["nginx", "-c", f"{directory}/nginx.conf", "-e", str(log)], log)
    wait_for_service(process, lambda: listening(SERVICES_ADDRESS, 443), "the lab's TLS front", log)


def start_aws(lab_dir: Path, log: Path) -> Callable[[], None]:
    """Start moto. It is ready about a second later: call the returned function to wait for that."""
    command = [sys.executable, "-m", "lab.aws_server", SERVICES_ADDRESS, "5000", str(lab_dir)]
    # It offers machine images of the same GitLab version.
    chosen = os.environ.get(gitlab_registry.VARIABLE, "")
    process = spawn(command, log, {gitlab_registry.VARIABLE: chosen})
    return lambda: wait_for_service(
        process, lambda: listening(SERVICES_ADDRESS, 5000), "the lab's S3 (moto)", log
    )


def _moto(path: str, body: bytes = b"", headers: dict[str, str] | None = None) -> str:
    request = urllib.request.Request(AWS_ADDRESS + path, data=body, headers=headers or {}, method="POST")  # noqa: S310 - http by construction
    # Without the user's proxies: these are addresses of the lab.
    opener = urllib.request.build_opener(urllib.request.ProxyHandler({}))
    with opener.open(request, timeout=30) as response:
        return str(response.read().decode())


def _iam(action: str, **parameters: str) -> str:
    body = urllib.parse.urlencode({"Action": action, "Version": "2010-05-08", **parameters}).encode()
    # moto distinguishes services by the scope of the credentials, even where it does not check them yet.
    scope = "AWS4-HMAC-SHA256 Credential=none/20260101/us-east-1/iam/aws4_request"
    headers = {"Authorization": scope, "Content-Type": "application/x-www-form-urlencoded"}
    return _moto("/", body, headers)


def settle() -> None:
    """Wait until hosts and names match the state of AWS; RuntimeError lists what could not be created."""
    if problems := json.loads(_moto("/moto-api/lab/settle")):
        raise RuntimeError("\n".join(problems))


def fail_aws(action: str, code: str, message: str, times: int, status: str) -> None:
    """Make the next calls of an action fail; 0 times: remove all such faults."""
    order = {"action": action, "code": code, "message": message, "times": times, "status": status}
    _moto("/moto-api/lab/fail", json.dumps(order).encode())


def reset_aws() -> Credentials:
    """Empty the account, create its administrator, and only then enforce keys and policies.

    Seeded, so that the administrator's key is the same after every reset: running commands can keep using it.
    """
    # Text, or moto reads it as a form and finds nothing.
    plain = {"Content-Type": "text/plain"}
    _moto("/moto-api/reset-auth", b"inf", plain)
    fail_aws("", "", "", 0, "")
    _moto("/moto-api/reset")
    settle()
    # moto creates its IAM backend, also at random, on first use: this must not be between the seed and the
    # key.
    _iam("ListUsers")
    _moto("/moto-api/seed?a=1")
    _iam("CreateUser", UserName="admin")
    everything = {"Version": "2012-10-17", "Statement": [{"Effect": "Allow", "Action": "*", "Resource": "*"}]}
    _iam("PutUserPolicy", UserName="admin", PolicyName="admin", PolicyDocument=json.dumps(everything))
    answer = _iam("CreateAccessKey", UserName="admin")
    key_pair = r"<AccessKeyId>(.+)</AccessKeyId>.*<SecretAccessKey>(.+)</SecretAccessKey>"
    found = re.search(key_pair, answer, re.DOTALL)
    if found is None:
        raise RuntimeError(f"moto created no access key: {answer}")
    _moto("/moto-api/reset-auth", b"0", plain)
    return Credentials(found[1], found[2])


def start_agent(private_key: Path, agent_socket: Path) -> None:
    """An ssh-agent that holds the operator's key; the socket's path must be short (108 bytes)."""
    log = agent_socket.with_suffix(".log")
    process = spawn(["ssh-agent", "-D", "-a", str(agent_socket)], log)
    wait_for_service(process, agent_socket.exists, "ssh-agent", log)
    env = {**CLEAN, "HOME": os.devnull, "SSH_AUTH_SOCK": str(agent_socket)}
    subprocess.run(["ssh-add", "-q", str(private_key)], env=env, stdin=subprocess.DEVNULL, check=True)
