"""Topics, a database and a state folder of its own for each test of the producers, on real services."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import uuid
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import psycopg2
import yaml
from confluent_kafka import Message
from confluent_kafka.admin import AdminClient
from psycopg2.extensions import connection as Connection

from infra.embedded.services.kafka import Kafka
from infra.embedded.services.postgres import Postgres
from infra.embedded.services.schema_registry import SchemaRegistry
from platform_core.domain.catalog import Catalog, load_catalog
from platform_core.settings import REPOSITORY, Settings
from platform_kafka.formats.wire_format import decode_value
from platform_kafka.topics import kafka_client_config, topic_specs
from producers.delivery import Delivery
from producers.postgres.database import connect
from producers.postgres.fence import FencedReader, Position
from producers.postgres.query import changes_query
from tests.rigs.kafka.topic_content import read_topic
from tests.rigs.settings_of import settings_of

SIMULATION = ("shop-init", "simulate-shop", "replay", "late")


@dataclass
class ProducersRig:
    """What a test has for itself."""

    env: dict[str, str]
    settings: Settings
    catalog: Catalog
    connections: list[Connection] = field(default_factory=list)

    def connect(self) -> Connection:
        connection = connect(self.settings, application="test")
        self.connections.append(connection)
        return connection

    def delivery(self, domain: str) -> Delivery:
        return Delivery.connect(self.settings, self.catalog[domain])

    def reader(self, domain: str, position: Position, **options: Any) -> FencedReader:
        return FencedReader(self.connect(), changes_query(self.catalog[domain]), position, **options)

    def messages(self, topic: str) -> list[Message]:
        return read_topic(kafka_client_config(self.settings, admin=True), topic)

    def records(self, domain: str) -> list[dict[str, Any]]:
        """Return the domain's records, in the order of each Kafka partition."""
        return [decode_value(message.value() or b"") for message in self.messages(self.catalog[domain].topic.name)]

    def command(self, *arguments: str, **env: str) -> subprocess.Popen[str]:
        program = "simulation" if arguments[0] in SIMULATION else "producers"
        return subprocess.Popen(
            [sys.executable, "-m", program, *arguments],
            env={**os.environ, **self.env, **env},
            cwd=REPOSITORY,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        )

    def run(self, *arguments: str, **env: str) -> dict[str, Any]:
        process = self.command(*arguments, **env)
        out, err = process.communicate(timeout=120)
        assert process.returncode == 0, err
        summary: dict[str, Any] = json.loads(out)
        return summary


@contextmanager
def producers_rig_on(
    kafka: Kafka, registry: SchemaRegistry, postgres: Postgres, folder: Path
) -> Iterator[ProducersRig]:
    """A producers_rig whose topics are deleted at the end."""
    suffix = uuid.uuid4().hex[:6]
    document = yaml.safe_load((REPOSITORY / "domains" / "domains.yaml").read_text())
    for name, entry in document["domains"].items():
        entry["topic"] |= {"name": f"raw-{name}-{suffix}", "partitions": 2}
    domains_file = folder / "domains.yaml"
    domains_file.write_text(yaml.safe_dump(document))

    # The shop's user owns its database and may not create others, so each test begins with an empty schema.
    with psycopg2.connect(postgres.env()["POSTGRES_DSN"]) as connection, connection.cursor() as cursor:
        cursor.execute("DROP SCHEMA public CASCADE; CREATE SCHEMA public")
    connection.close()
    env = {
        **kafka.env(),
        **registry.env(),
        **postgres.env(),
        "STATE_DIR": str(folder / "state"),
        "DOMAINS_FILE": str(domains_file),
        "LAKE_URI": str(folder / "lake"),
    }
    settings = settings_of(env)
    producers_rig = ProducersRig(env, settings, load_catalog(domains_file))
    yield producers_rig
    for connection in producers_rig.connections:
        connection.close()
    kafka_admin = AdminClient(kafka_client_config(settings, admin=True))
    mine = [spec.name for spec in topic_specs(producers_rig.catalog) if suffix in spec.name]
    existing = kafka_admin.list_topics(timeout=30).topics
    for done in kafka_admin.delete_topics([name for name in mine if name in existing] or ["-none-"]).values():
        done.exception()
