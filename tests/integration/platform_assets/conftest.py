"""The fixture that gives a test its small platform."""

from __future__ import annotations

import uuid
from collections.abc import Iterator
from pathlib import Path

import dagster as dg
import pytest
from pipeline_bench import Bench

from infra.embedded.spark_connect import SparkConnect
from infra.embedded.warehouse import Warehouse
from platform_core.domain.catalog import load_catalog
from platform_core.lake.lake import Lake
from platform_core.settings import REPOSITORY, settings


@pytest.fixture
def bench(
    spark_connect: SparkConnect, warehouse: Warehouse, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> Iterator[Bench]:
    env = {
        **spark_connect.env(),
        **warehouse.env(),
        "LAKE_URI": str(tmp_path / "lake"),
        "PARTITION_SETTLE_SECONDS": "0",
        "PARTITION_RETRY_BACKOFF_SECONDS": "0",
        "SNOWFLAKE_DATABASE": f"T{uuid.uuid4().hex[:10]}",
    }
    for name, value in env.items():
        monkeypatch.setenv(name, value)
    settings.cache_clear()
    lake = Lake(settings())
    lake.prepare()
    catalog = load_catalog(REPOSITORY / "domains" / "domains.yaml")
    with dg.DagsterInstance.ephemeral() as instance:
        yield Bench(lake, catalog, instance)
    settings.cache_clear()
