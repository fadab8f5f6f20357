from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest
from producers_bench import Bench, producers_bench

from infra.embedded.kafka import Kafka
from infra.embedded.postgres import Postgres
from infra.embedded.schema_registry import SchemaRegistry
from producers.provision import provision


@pytest.fixture
def bench(kafka: Kafka, schema_registry: SchemaRegistry, postgres: Postgres, tmp_path: Path) -> Iterator[Bench]:
    with producers_bench(kafka, schema_registry, postgres, tmp_path) as bench:
        yield bench


@pytest.fixture
def provisioned(bench: Bench) -> Bench:
    provision(bench.settings, bench.catalog)
    return bench
