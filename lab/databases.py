"""PostgreSQL for the metadata of a registry: Debian's, one server per site on the lab's network.

Those of created sites are in their VPCs (lab/cloud/databases.py). Any process in the lab can call this: the
servers' state is in files below /run/lab.
"""

from __future__ import annotations

import os
import pwd
import secrets
import shutil
import subprocess
import tempfile
from pathlib import Path

from lab.authority import Authority
from lab.host import RUN, fill_disk
from lab.rootfs import write
from lab.services import CLEAN, wait_for
from tools import debian

DIRECTORY = RUN / "databases"
ACCOUNT = "postgres"
"""Debian's account for it: PostgreSQL refuses to run as root."""
PORT = 5432
DISK = "size=192m,mode=700"
"""Quickly filled."""
USER = DATABASE = "registry"
OPTIONS = {
    "fsync": "off",
    "shared_buffers": "16MB",
    "max_connections": "50",
    # The migrations of GitLab's registry create hundreds of partitions in one transaction.
    "max_locks_per_transaction": "512",
    "min_wal_size": "2MB",
    "max_wal_size": "16MB",
    "password_encryption": "scram-sha-256",
    "ssl_cert_file": "server.crt",
    "ssl_key_file": "server.key",
    "log_connections": "on",
    "wal_level": "replica",
}
CONNECTIONS = "local all all trust\nhost all all all scram-sha-256\n"
VERSION = """\
CREATE OR REPLACE FUNCTION public.current_setting(name text) RETURNS text LANGUAGE sql STABLE AS $$
SELECT CASE WHEN $1 = 'server_version_num' THEN '{number}' ELSE pg_catalog.current_setting($1) END $$;
ALTER ROLE registry IN DATABASE registry SET search_path = public, pg_catalog;
"""


class Database:
    """A server at `host`, port 5432, with a database and a role `registry` and its `password`.

    It has TLS, with a certificate of the authority for `host`, and accepts a login without TLS as well.
    `name`: the site's, and that of its directory; `namespace`: the network namespace that it runs in, by
    default the lab's; `first_password`: by default a random one.
    """

    port, user, name = PORT, USER, DATABASE

    def __init__(
        self,
        name: str,
        host: str,
        address: str,
        authority: Path,
        *,
        namespace: str = "",
        first_password: str = "",
    ) -> None:
        self.site, self.host, self.address, self.dir = name, host, address, DIRECTORY / name
        self._authority, self._namespace, self._first_password = authority, namespace, first_password

    @property
    def password(self) -> str:
        """The one that the server expects, unless `change_password` has changed it."""
        return (self.dir / "password").read_text()

    # -- power

    def start(self) -> None:
        """Create it if there is none yet, and return when it accepts connections."""
        if not self._data.exists():
            self._create()
        if not self.is_up():
            self._control("start", "--wait", f"--log={self.dir}/log")

    def stop(self) -> None:
        """Stop it: open connections are closed, new ones refused."""
        if self.is_up():
            self._control("stop", "--mode=fast", "--wait")

    def is_up(self) -> bool:
        """Whether the server runs."""
        return self._data.exists() and self._run("pg_ctl", "status", f"--pgdata={self._data}").returncode == 0

    def remove(self) -> None:
        """Stop it and forget all of it."""
        if not self.dir.exists():
            return
        if self.is_up():
            self._control("stop", "--mode=immediate", "--wait")
        # pg_ctl returns when the server has removed its pid file, shortly before its process ends.
        unmount = ["umount", "--quiet", str(self.dir)]
        wait_for(lambda: not subprocess.run(unmount, check=False).returncode, f"the end of {self.host}", 10)
        shutil.rmtree(self.dir)

    # -- faults

    def change_password(self, password: str | None = None) -> None:
        """The role's password is another one from now on; without an argument the first one again."""
        self.query(f"ALTER ROLE {USER} PASSWORD '{password or self.password}'", "postgres")

    def tls(self, on: bool) -> None:
        """Whether it offers TLS."""
        self.query(f"ALTER SYSTEM SET ssl = {'on' if on else 'off'}", "postgres")
        self._control("reload")
        wait_for(lambda: self.query("SHOW ssl", "postgres") == ("on" if on else "off"), "TLS", 10)

    def require_tls(self, on: bool = True) -> None:
        """Whether it refuses logins without TLS, like RDS."""
        self._connections(CONNECTIONS.replace("host ", "hostssl ") if on else CONNECTIONS)
        self._control("reload")

    def standby(self, on: bool) -> None:
        """Whether it is a standby, as Geo's replica is: it can be read, and not be written to."""
        if on:
            self.stop()
            write(self._data / "standby.signal", "", 0o600, self._owner)
            self.start()
        else:
            self._control("promote", "--wait")

    def pretend_version(self, number: int | None) -> None:
        """What `SELECT current_setting('server_version_num')` is for the role, 140012; None: the truth.

        The parameter that a client gets when it connects, and SHOW, remain PostgreSQL's own.
        """
        self.query("DROP FUNCTION IF EXISTS public.current_setting(text)")
        self.query(f"ALTER ROLE {USER} IN DATABASE {DATABASE} RESET search_path")
        if number:
            self.query(VERSION.format(number=number))

    def other_tables(self) -> None:
        """Put somebody else's table with a row into the database."""
        self.query("CREATE TABLE invoices (id int); INSERT INTO invoices VALUES (1)")

    def fill_disk(self) -> None:
        """Fill its disk: what is written from then on fails."""
        fill_disk(self.dir / "filler")

    def free_disk(self) -> None:
        """Undo `fill_disk`; a server that ended of it is started."""
        (self.dir / "filler").unlink(missing_ok=True)
        self.start()

    # -- content

    def query(self, statements: str, database: str = DATABASE) -> str:
        """Run statements as the server's administrator; the rows, with tabs and line breaks.

        CalledProcessError has the server's message.
        """
        options = ["-X", "-q", "-A", "-t", "-F", "\t", "-v", "ON_ERROR_STOP=1", "-f", "-"]
        connection = f"host={self.dir} user={ACCOUNT} dbname={database}"
        done = self._run("psql", *options, "-d", connection, input=statements)
        if done.returncode:
            raise subprocess.CalledProcessError(done.returncode, statements, done.stdout, done.stderr)
        return done.stdout.strip()

    def empty(self) -> None:
        """Replace the database by a new, empty one of the same name and owner."""
        self.query(f"DROP DATABASE IF EXISTS {DATABASE} WITH (FORCE)", "postgres")
        self.query(f"CREATE DATABASE {DATABASE} OWNER {USER}", "postgres")
        self.query(f"ALTER ROLE {USER} IN DATABASE {DATABASE} RESET search_path", "postgres")

    def log(self) -> str:
        """What the server has logged, each login included."""
        return (self.dir / "log").read_text(errors="replace")

    # -- how

    @property
    def _data(self) -> Path:
        return self.dir / "data"

    @property
    def _owner(self) -> int:
        return pwd.getpwnam(ACCOUNT).pw_uid

    def _create(self) -> None:
        self.dir.mkdir(parents=True)
        subprocess.run(["mount", "-t", "tmpfs", "-o", DISK, "lab", str(self.dir)], check=True)
        os.chown(self.dir, self._owner, self._owner)
        write(self.dir / "password", self._first_password or secrets.token_hex(12), 0o600)
        self._checked(
            *("initdb", f"--pgdata={self._data}", f"--username={ACCOUNT}", "--auth=trust", "--encoding=UTF8"),
            *("--locale=C", "--wal-segsize=1", "--no-sync"),
        )
        issued = Authority.load(self._authority).issue([self.host])
        write(self._data / "server.crt", issued.certificate, 0o600, self._owner)
        write(self._data / "server.key", issued.key, 0o600, self._owner)
        self._connections(CONNECTIONS)
        options = OPTIONS | {
            "listen_addresses": self.address,
            "unix_socket_directories": str(self.dir),
            "ssl": "on",
        }
        with (self._data / "postgresql.conf").open("a") as file:
            file.writelines(f"{name} = '{value}'\n" for name, value in options.items())
        self._control("start", "--wait", f"--log={self.dir}/log")
        self.query(f"CREATE ROLE {USER} LOGIN PASSWORD '{self.password}'", "postgres")
        self.empty()

    def _connections(self, text: str) -> None:
        write(self._data / "pg_hba.conf", text, 0o600, self._owner)

    def _control(self, action: str, *options: str) -> None:
        self._checked("pg_ctl", action, f"--pgdata={self._data}", "--silent", *options)

    def _checked(self, *command: str) -> None:
        done = self._run(*command)
        if done.returncode:
            end = (self.dir / "log").read_text() if (self.dir / "log").exists() else ""
            raise RuntimeError(f"{command[0]} of {self.host}: {done.stdout}{done.stderr}{end[-1000:]}")

    def _run(self, program: str, *arguments: str, input: str = "") -> subprocess.CompletedProcess[str]:
        path = max(debian.LIBRARIES.glob(f"postgresql/*/bin/{program}"))
        owner = str(self._owner)
        enter = ["nsenter", f"--net=/run/netns/{self._namespace}"] if self._namespace else []
        command = [*enter, "setpriv", f"--reuid={owner}", f"--regid={owner}", "--clear-groups", str(path)]
        command += arguments
        # Its output in a file: the server keeps pipes of pg_ctl open.
        with tempfile.TemporaryFile("w+") as out, tempfile.TemporaryFile("w+") as err:
            done = subprocess.run(
                command, input=input, stdout=out, stderr=err, env=CLEAN, cwd="/", text=True, check=False
            )
            out.seek(0)
            err.seek(0)
            return subprocess.CompletedProcess(command, done.returncode, out.read(), err.read())
