"""A schema registry that speaks Confluent's REST API: Apicurio Registry, keeping its schemas in H2.

Subjects and schemas belong to the platform; only the registry-wide compatibility is set here. The API is
described in https://www.apicur.io/registry/docs/apicurio-registry/3.0.x/.
"""

from __future__ import annotations

import base64
import json
from pathlib import Path

from infra.embedded.processes.ports import LOOPBACK
from infra.embedded.processes.service import EmbeddedService, http_status, new_password
from infra.embedded.services.small_jvm import SMALL_JVM
from infra.embedded.toolchain.toolchain import Toolchain

_API = "/apis/ccompat/v7"
_USER = "platform"
# Without a login it says whether it is healthy, and nothing else. The password is a reference into its environment.
_LOGIN = {
    "quarkus.http.auth.basic": "true",
    "quarkus.security.users.embedded.plain-text": "true",
    f"quarkus.security.users.embedded.users.{_USER}": "${REGISTRY_PASSWORD}",
    f"quarkus.security.users.embedded.roles.{_USER}": "sr-admin",
    "quarkus.http.auth.permission.login.paths": "/*",
    "quarkus.http.auth.permission.login.policy": "authenticated",
    "quarkus.http.auth.permission.health.paths": "/health/*",
    "quarkus.http.auth.permission.health.policy": "permit",
    # A line a request with who asked, at INFO whatever the level of all others.
    'quarkus.log.category."io.apicurio.registry.auth".level': "WARN",
}


class SchemaRegistry(EmbeddedService):
    """Apicurio Registry, in memory or (durable) in a file, FULL_TRANSITIVE for every subject.

    Its password is new at every start and lives in its environment only.
    """

    name = "schema_registry"

    def __init__(self, root: Path, *, toolchain: Toolchain | None = None, durable: bool = False) -> None:
        super().__init__(root, toolchain=toolchain, durable=durable)
        self._password = new_password()

    def prepare(self) -> None:
        """Find Java and fetch the registry."""
        _ = self.toolchain.jdk, self.toolchain.apicurio

    def launch(self) -> None:
        """Start the registry, wait until it is healthy, and set the compatibility that subjects inherit."""
        [self.port] = self._own_ports(1)
        storage = []
        if self.durable:
            storage = [
                "-Dapicurio.storage.kind=sql",
                "-Dapicurio.storage.sql.kind=h2",
                f"-Dapicurio.datasource.url=jdbc:h2:file:{self.root / 'h2' / 'registry'}",
            ]
        process = self._run(
            [
                self.toolchain.jdk.java,
                "-Xmx192m",
                *SMALL_JVM,
                f"-Dquarkus.http.host={LOOPBACK}",
                f"-Dquarkus.http.port={self.port}",
                "-Dquarkus.log.level=WARN",
                *(f"-D{name}={value}" for name, value in _LOGIN.items()),
                *storage,
                "-jar",
                self.toolchain.apicurio,
            ],
            env={"REGISTRY_PASSWORD": self._password},
            secrets=[self._password],
        )
        process.wait_ready(self._answers, self.start_timeout_seconds)

    def env(self) -> dict[str, str]:
        """Return the base URL that registry clients take, and the login."""
        return {
            "SCHEMA_REGISTRY_URL": f"http://{LOOPBACK}:{self.port}{_API}",
            "SCHEMA_REGISTRY_USERNAME": _USER,
            "SCHEMA_REGISTRY_PASSWORD": self._password,
        }

    def _answers(self) -> bool:
        if http_status(self.port, "/health/ready") != 200:
            return False
        # Without a registry-wide rule a new subject has none, and any schema would be accepted.
        rule = json.dumps({"compatibility": "FULL_TRANSITIVE"})
        login = base64.b64encode(f"{_USER}:{self._password}".encode()).decode()
        headers = {"Authorization": f"Basic {login}"}
        return http_status(self.port, f"{_API}/config", method="PUT", body=rule, headers=headers) == 200
