"""A schema registry that speaks Confluent's REST API: Apicurio Registry, keeping its schemas in H2.

Subjects and schemas belong to the platform; only the registry-wide compatibility is set here. The API is
described in https://www.apicur.io/registry/docs/apicurio-registry/3.0.x/.
"""

from __future__ import annotations

import json

from infra.embedded.processes.ports import LOOPBACK
from infra.embedded.processes.service import EmbeddedService, http_status

_API = "/apis/ccompat/v7"


class SchemaRegistry(EmbeddedService):
    """Apicurio Registry, in memory or (durable) in a file, FULL_TRANSITIVE for every subject."""

    name = "schema_registry"

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
                "-XX:+UseSerialGC",
                "-XX:TieredStopAtLevel=1",
                f"-Dquarkus.http.host={LOOPBACK}",
                f"-Dquarkus.http.port={self.port}",
                "-Dquarkus.log.level=WARN",
                *storage,
                "-jar",
                self.toolchain.apicurio,
            ]
        )
        process.wait_ready(self._answers, self.start_timeout_seconds)

    def env(self) -> dict[str, str]:
        """Return the base URL that registry clients take."""
        return {"SCHEMA_REGISTRY_URL": f"http://{LOOPBACK}:{self.port}{_API}"}

    def _answers(self) -> bool:
        if http_status(self.port, "/health/ready") != 200:
            return False
        # Without a registry-wide rule a new subject has none, and any schema would be accepted.
        rule = json.dumps({"compatibility": "FULL_TRANSITIVE"})
        return http_status(self.port, f"{_API}/config", method="PUT", body=rule) == 200
