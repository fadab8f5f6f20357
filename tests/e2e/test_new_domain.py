"""A fifth domain: one YAML entry and one package in a temporary folder, nothing else, through every layer."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import uuid
from collections.abc import Sequence
from datetime import UTC, datetime, timedelta
from pathlib import Path

import dagster as dg
import pytest
import yaml
from confluent_kafka import Producer

from infra.embedded.services.kafka import Kafka
from infra.embedded.services.schema_registry import SchemaRegistry
from infra.embedded.services.spark.connect import SparkConnect
from infra.embedded.services.warehouse import WarehouseService
from platform_assets.definitions import build_defs
from platform_assets.jobs import RANGE_END, RANGE_START
from platform_assets.resources.metadata_store import MetadataStore
from platform_assets.resources.warehouse import Warehouse
from platform_core.domain.catalog import load_catalog
from platform_core.settings import REPOSITORY, settings
from platform_kafka.publishing import DELIVERY_CONFIG
from platform_kafka.topics import kafka_client_config

CONTRACT = {
    "$schema": "http://json-schema.org/draft-07/schema#",
    "type": "object",
    "properties": {
        "shift_id": {"type": "string", "minLength": 1, "description": "Primary key"},
        "courier": {"type": "string", "description": "Who rides"},
        "started_at": {"type": "string", "format": "date-time", "description": "Begin of the shift"},
        "earned": {"type": "string", "x-type": "decimal(10,2)", "description": "Pay of the shift"},
    },
    "required": ["shift_id", "courier", "started_at", "earned"],
    "additionalProperties": {"type": ["string", "number", "boolean", "null"]},
}
TRANSFORM = '''"""Courier shifts as they come."""
from platform_core.domain.plugin import BaseDomainTransform


class Transform(BaseDomainTransform):
    def transform(self, df, cfg):
        return df
'''
AGGREGATION = '''"""Shifts and pay of a day by courier."""
from pyspark.sql import functions as F
from platform_core.domain.plugin import BaseDomainAggregation


class Aggregation(BaseDomainAggregation):
    def aggregate(self, df, cfg, dt):
        return df.groupBy("shift_date", "courier").agg(
            F.count("*").alias("shifts"), F.sum("earned").alias("earned")
        )
'''
GOLD = {
    "couriers": {
        "description": "Shifts of a courier.",
        "columns": {
            "shift_date": "UTC date on which the shifts began",
            "courier": "Who rides",
            "shifts": "Shifts",
            "earned": "Pay of the shifts",
        },
    }
}
ENTRY = {
    "description": "Courier shifts",
    "owner": "team:logistics",
    "start_date": "2025-01-01",
    "plugin": "courier_plugin",
    "topic": {"key": "courier", "partitions": 2},
    "bronze": {"partition_key": "shift_date", "timestamp_col": "started_at"},
    "silver": {"primary_key": ["shift_id"], "global_key": True},
    "gold": {
        "tables": {"couriers": ["shift_date", "courier"]},
        "reconcile": [{"table": "couriers", "gold": "sum(shifts)", "silver": "count(*)"}],
    },
    "quality": {"rules": [{"name": "paid", "expression": "earned > 0", "reason": "nobody rides for nothing"}]},
}


@pytest.fixture
def domains_file(tmp_path: Path) -> Path:
    package = tmp_path / "courier_plugin"
    package.mkdir()
    (package / "__init__.py").touch()
    (package / "contract.json").write_text(json.dumps(CONTRACT))
    (package / "transform.py").write_text(TRANSFORM)
    (package / "aggregation.py").write_text(AGGREGATION)
    (package / "gold.yaml").write_text(yaml.safe_dump(GOLD))
    existing = yaml.safe_load((REPOSITORY / "domains" / "domains.yaml").read_text())["domains"]
    path = tmp_path / "domains.yaml"
    path.write_text(yaml.safe_dump({"domains": {**existing, "couriers": ENTRY}}, sort_keys=False))
    return path


def test_a_fifth_domain_reaches_every_layer(
    kafka: Kafka,
    schema_registry: SchemaRegistry,
    sail: SparkConnect,
    warehouse: WarehouseService,
    domains_file: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    root = domains_file.parent
    env = {
        **kafka.env(),
        **schema_registry.env(),
        **sail.env(),
        **warehouse.env(),
        "DOMAINS_FILE": str(domains_file),
        "LAKE_URI": str(root / "lake"),
        "STATE_DIR": str(root / "state"),
        "PARTITION_SETTLE_SECONDS": "0",
        "SNOWFLAKE_DATABASE": f"T{uuid.uuid4().hex[:10]}",
        "PYTHONPATH": str(REPOSITORY),
    }
    for name, value in env.items():
        monkeypatch.setenv(name, value)
    settings.cache_clear()
    run(["producers", "provision"])

    day = datetime.now(UTC).date() - timedelta(days=3)
    moved_to = day + timedelta(days=1)
    producer = Producer({**kafka_client_config(settings()), **DELIVERY_CONFIG})
    for n, on in [*((n, day) for n in range(40)), (39, moved_to)]:
        shift = {
            "shift_id": f"shift-{n}",
            "courier": f"c{n % 4}",
            "started_at": f"{on}T0{n % 9}:00:00Z",
            "earned": "0.00" if n == 7 else f"{n + 1}.10",
        }
        producer.produce("raw-couriers", key=shift["courier"].encode(), value=json.dumps(shift).encode())
    assert producer.flush(30) == 0
    run(["sink", "--domains", "couriers", "--until-caught-up"])

    defs = build_defs(load_catalog(domains_file))
    with dg.DagsterInstance.ephemeral() as instance:

        def requests() -> Sequence[dg.RunRequest]:
            context = dg.build_sensor_context(
                instance=instance,
                repository_def=defs.get_repository_def(),
                resources={"metadata_store": MetadataStore()},
            )
            return defs.resolve_sensor_def("discover_couriers").evaluate_tick(context).run_requests or ()

        job = defs.resolve_job_def("data_pipeline_couriers")
        asked = []
        while request := next(iter(requests()), None):
            asked.append((request.partition_key, request.tags.get(RANGE_START), request.tags.get(RANGE_END)))
            assert job.execute_in_process(
                partition_key=request.partition_key, tags=request.tags, instance=instance
            ).success
    # The date that a shift has left is corrected by itself.
    assert asked == [(None, str(day), str(moved_to)), (str(day), None, None)]
    assert defs.resolve_schedule_def("data_pipeline_couriers_daily").cron_schedule == "0 6 * * *"
    with Warehouse().connect("test") as connection:
        rows = connection.cursor().execute(
            "SELECT SHIFT_DATE, COURIER, SHIFTS, EARNED"
            f" FROM {settings().snowflake_database}.COURIERS.COURIERS ORDER BY SHIFT_DATE, COURIER"
        )
        loaded = [(str(on), courier, int(shifts), str(earned)) for on, courier, shifts, earned in rows.fetchall()]
    pay = {(str(day), f"c{k}"): [n for n in range(39) if n % 4 == k and n != 7] for k in range(4)}
    pay[str(moved_to), "c3"] = [39]
    assert loaded == [(*key, len(ns), f"{sum(n + 1 for n in ns) + len(ns) * 0.1:.2f}") for key, ns in pay.items()]
    settings.cache_clear()


def run(arguments: list[str]) -> None:
    done = subprocess.run(
        [sys.executable, "-m", *arguments], cwd=REPOSITORY, env={**os.environ}, capture_output=True, text=True
    )
    assert done.returncode == 0, done.stdout + done.stderr
