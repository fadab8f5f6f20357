"""A real Postgres server with the shop's empty database: user `shop`, password login over TCP only.

Tables and data of the shop belong to whoever seeds them. Privileges follow
https://www.postgresql.org/docs/current/ddl-priv.html: the shop's user owns its database and nothing else.
"""

from __future__ import annotations

import hashlib
import os
import pwd
import shutil
import signal
import stat
import subprocess
from pathlib import Path

from infra.embedded.errors import ServiceStartError, ToolchainError
from infra.embedded.processes.ports import LOOPBACK
from infra.embedded.processes.process import Credentials, child_environment
from infra.embedded.processes.service import EmbeddedService, new_password
from infra.embedded.processes.temporary import TemporaryFolder
from infra.embedded.services.postgres_binaries import relocatable_root
from infra.embedded.toolchain.toolchain import Toolchain

_USER = _DATABASE = "shop"
# Postgres refuses to run as root; these accounts exist on practically every machine and own nothing of value.
_UNPRIVILEGED = ("postgres", "nobody")


class Postgres(EmbeddedService):
    """One Postgres server; the password is new at every start and never written to a file."""

    name = "postgres"

    def __init__(self, root: Path, *, toolchain: Toolchain | None = None, durable: bool = False) -> None:
        super().__init__(root, toolchain=toolchain, durable=durable)
        self._password = new_password()
        self._credentials: Credentials | None = None
        self._temporary: list[TemporaryFolder] = []

    def prepare(self) -> None:
        """Find the programs."""
        _ = self.toolchain.postgres

    def launch(self) -> None:
        """Create the cluster if there is none, set the password, start the server and log in once."""
        self._credentials = unprivileged_user() if os.geteuid() == 0 else None
        binaries = self._reachable_binaries()
        data = self._reachable_home() / "data"
        if not (data / "PG_VERSION").exists():
            self._create_cluster(binaries, data)
        self._set_password(binaries, data)
        [self.port] = self._own_ports(1)
        options = {
            "listen_addresses": LOOPBACK,
            "port": self.port,
            "unix_socket_directories": "",
            "timezone": "UTC",
            "log_timezone": "UTC",
            "max_connections": 60,
            "shared_buffers": "64MB",
            # Queries here take milliseconds; compiling one takes longer than running it.
            "jit": "off",
        }
        if not self.durable:
            options |= {"fsync": "off", "synchronous_commit": "off", "full_page_writes": "off"}
        process = self._run(
            [binaries / "postgres", "-D", data, *(f"--{name}={value}" for name, value in options.items())],
            cwd=data,
            env={"LC_ALL": "C.UTF-8"},
            credentials=self._credentials,
            # A "fast" shutdown: SIGTERM would wait for every client to leave by itself.
            stop_signal=signal.SIGINT,
            secrets=[self._password],
        )
        process.wait_ready(self._answers, self.start_timeout_seconds)

    def env(self) -> dict[str, str]:
        """Return the URL of the shop's database."""
        return {"POSTGRES_DSN": f"postgresql://{_USER}:{self._password}@{LOOPBACK}:{self.port}/{_DATABASE}"}

    def stop(self) -> None:
        """End the server and remove what it kept outside its folder; a durable cluster stays."""
        super().stop()
        for folder in self._temporary:
            folder.remove()
        self._temporary.clear()

    def _end_process(self) -> None:
        if self._process is not None:
            # Even throw-away data gets a shutdown: a killed postmaster leaves its shared memory segment
            # behind.
            self._process.stop(grace_seconds=20)

    def _answers(self) -> bool:
        import psycopg2

        connection = psycopg2.connect(self.env()["POSTGRES_DSN"], connect_timeout=5)
        try:
            with connection.cursor() as cursor:
                cursor.execute("SELECT 1")
                return cursor.fetchone() == (1,)
        finally:
            connection.close()

    def _reachable_binaries(self) -> Path:
        """Return the programs, copied to where the other user may read them if they are out of its reach."""
        binaries = self.toolchain.postgres
        if self._credentials is None or reachable_by(binaries, self._credentials):
            return binaries
        source = relocatable_root(binaries)
        copy = self._temporary_folder("bin", readable=True)
        shutil.copytree(source, copy / source.name, symlinks=True)
        libraries = source.with_name(f"{source.name}.libs")
        if libraries.is_dir():
            shutil.copytree(libraries, copy / libraries.name, symlinks=True)
        return copy / source.name / binaries.relative_to(source)

    def _reachable_home(self) -> Path:
        """Return a folder that the server's user can write to: the service's own, or one in /tmp."""
        if self._credentials is None:
            return self.root
        if reachable_by(self.root, self._credentials):
            os.chown(self.root, self._credentials.uid, self._credentials.gid)
            return self.root
        if not self.durable:
            return self._temporary_folder("data", readable=False)
        # A name that the next start finds again. It is removed by hand, like the stack's own folder.
        digest = hashlib.sha256(str(self.root.resolve()).encode()).hexdigest()[:16]
        home = Path("/var/tmp") / f"pdp-postgres-{digest}"
        home.mkdir(mode=0o700, exist_ok=True)
        found = home.lstat()
        if not stat.S_ISDIR(found.st_mode) or found.st_uid not in (0, self._credentials.uid):
            raise ToolchainError(
                f"`{home}` belongs to somebody else, so no database is kept there; remove it first.",
            )
        os.chown(home, self._credentials.uid, self._credentials.gid)
        return home

    def _temporary_folder(self, purpose: str, *, readable: bool) -> Path:
        assert self._credentials is not None
        folder = TemporaryFolder(f"pdp-postgres-{purpose}-")
        self._temporary.append(folder)
        if readable:
            folder.path.chmod(0o755)
        else:
            os.chown(folder.path, self._credentials.uid, self._credentials.gid)
        return folder.path

    def _create_cluster(self, binaries: Path, data: Path) -> None:
        sync = [] if self.durable else ["--no-sync"]
        self._tool(
            [
                binaries / "initdb",
                "-D",
                data,
                "-U",
                "postgres",
                "-A",
                "trust",
                "-E",
                "UTF8",
                "--no-locale",
                *sync,
            ]
        )
        # "trust" above is only initdb's own single-user work: from its first start the server takes this
        # file.
        (data / "pg_hba.conf").write_text(f"host {_DATABASE} {_USER} {LOOPBACK}/32 scram-sha-256\n")
        self._single_user(
            binaries,
            data,
            f"CREATE ROLE {_USER} LOGIN",
            f"CREATE DATABASE {_DATABASE} OWNER {_USER}",
            # Seeding history keeps its own `updated_at` only with the triggers off.
            f"GRANT SET ON PARAMETER session_replication_role TO {_USER}",
        )

    def _set_password(self, binaries: Path, data: Path) -> None:
        self._single_user(binaries, data, f"ALTER ROLE {_USER} PASSWORD '{self._password}'")

    def _single_user(self, binaries: Path, data: Path, *statements: str) -> None:
        """Run statements in a server without a listener; they arrive by a pipe, not by argv."""
        # The log level keeps a failing statement, and so the password, out of the error text.
        self._tool(
            [
                binaries / "postgres",
                "--single",
                "-D",
                data,
                "-c",
                "log_min_error_statement=panic",
                "postgres",
            ],
            text="".join(f"{statement};\n" for statement in statements),
        )

    def _tool(self, argv: list[str | Path], text: str = "") -> None:
        done = subprocess.run(
            [str(item) for item in argv],
            input=text,
            text=True,
            capture_output=True,
            check=False,
            timeout=self.start_timeout_seconds,
            env=child_environment({"LC_ALL": "C.UTF-8"}),
            cwd="/",
            user=self._credentials.uid if self._credentials else None,
            group=self._credentials.gid if self._credentials else None,
            extra_groups=[] if self._credentials else None,
        )
        # A single-user server reports a failed statement on its error stream and still ends with 0.
        if done.returncode != 0 or "ERROR:" in done.stderr or "FATAL:" in done.stderr:
            output = (done.stdout + done.stderr).replace(self._password, "***")
            raise ServiceStartError(
                f"`{argv[0]}` for `{self.name}` ended with {done.returncode}: {output[-2000:]}",
            )


def unprivileged_user() -> Credentials:
    """Return the account that a server started by root runs as.

    Raises:
        ToolchainError: the machine has none of the usual ones.
    """
    for name in _UNPRIVILEGED:
        try:
            account = pwd.getpwnam(name)
        except KeyError:
            continue
        return Credentials(account.pw_uid, account.pw_gid)
    raise ToolchainError(
        "Postgres does not run as root and the accounts `postgres` and `nobody` do not exist; start as another user."
    )


def reachable_by(path: Path, who: Credentials) -> bool:
    """Tell whether the user may enter the folder and every folder above it."""
    resolved = path.resolve()
    return all(_may_enter(folder.stat(), who) for folder in (resolved, *resolved.parents) if folder.exists())


def _may_enter(found: os.stat_result, who: Credentials) -> bool:
    if found.st_uid == who.uid:
        return bool(found.st_mode & stat.S_IXUSR)
    if found.st_gid == who.gid:
        return bool(found.st_mode & stat.S_IXGRP)
    return bool(found.st_mode & stat.S_IXOTH)
