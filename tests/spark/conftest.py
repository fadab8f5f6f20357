"""Both engines, and lakes that they have filled from the same Bronze.

Only what several tests on Spark share is here; the records are in `bronze_days`.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal

import pytest
from pydantic import SecretStr
from pyspark.sql import SparkSession

from infra.embedded.services.spark.connect import SparkConnect
from infra.embedded.services.spark.properties import TOKEN
from infra.embedded.toolchain.toolchain import Toolchain
from platform_core.domain.catalog import Catalog, load_catalog
from platform_core.lake.lake import Lake
from platform_core.lake.store_access import store_access
from platform_core.settings import Settings
from spark_jobs import bronze_to_silver, silver_to_gold
from spark_jobs.bronze_to_silver import SilverResult
from spark_jobs.engine import session
from spark_jobs.silver_to_gold import GoldResult
from tests.rigs.gcs.service import GcsService
from tests.rigs.lake import bronze_days
from tests.rigs.lake.delta_rows import rows, tables_of
from tests.rigs.settings_of import settings_of
from tests.rigs.spark.server import SparkServer

CONNECT_TOKEN = SecretStr("of-the-tests-server")
"""What the server of Spark asks for; Sail's asks for nothing, and gets it too."""

ENGINES: tuple[Literal["spark"], Literal["sail"]] = ("spark", "sail")


@dataclass
class Engine:
    """A session and the lake that it alone writes.

    Attributes:
        rows: What was in each table of the day as soon as it was filled; tests change it afterwards.
    """

    name: str
    remote: str
    spark: SparkSession
    lake: Lake
    silver: dict[str, SilverResult] = field(default_factory=dict)
    gold: dict[str, GoldResult] = field(default_factory=dict)
    rows: dict[str, list[dict[str, Any]]] = field(default_factory=dict)


@pytest.fixture(scope="session")
def catalog() -> Catalog:
    """The domains, publishing a date whatever is bad in it: the records here are meant to be."""
    lenient = {"max_quarantined_ratio": 1.0}
    return Catalog(
        [
            domain.model_copy(update={"quality": domain.quality.model_copy(update=lenient)})
            for domain in load_catalog(Settings().domains_file)
        ]
    )


@pytest.fixture(scope="session")
def gcs(tmp_path_factory: pytest.TempPathFactory) -> Iterator[GcsService]:
    """The emulator of Google Cloud Storage that both servers know."""
    with GcsService(tmp_path_factory.mktemp("gcs")) as service:
        yield service


@pytest.fixture(scope="session")
def servers(
    toolchain: Toolchain, tmp_path_factory: pytest.TempPathFactory, gcs: GcsService
) -> Iterator[dict[str, SparkConnect]]:
    """Spark and Sail, one server each; a lake may be a folder or at `gcs`, so that one JVM is enough for both."""
    access = store_access(settings_of(gcs.env()))
    running: dict[str, SparkConnect] = {}
    try:
        for name in ENGINES:
            service = SparkServer(
                tmp_path_factory.mktemp(name),
                toolchain=toolchain,
                engine=name,
                driver_memory="1g",
                jars=toolchain.gcs_jars if name == "spark" else (),
                properties={**access.spark_properties(), TOKEN: CONNECT_TOKEN.get_secret_value()},
                environment=access.sail_environment(),
            )
            service.__enter__()
            running[name] = service
        yield running
    finally:
        for started in running.values():
            started.__exit__(None, None, None)


@pytest.fixture(scope="session")
def engines(servers: dict[str, SparkConnect], tmp_path_factory: pytest.TempPathFactory) -> Iterator[dict[str, Engine]]:
    """A session of each engine, with an empty lake."""
    result = {}
    for name, service in servers.items():
        remote = service.env()["SPARK_REMOTE"]
        lake = Lake(Settings(lake_uri=str(tmp_path_factory.mktemp(f"lake_{name}"))))
        result[name] = Engine(name, remote, session.connect(remote, token=CONNECT_TOKEN), lake)
    yield result
    for engine in result.values():
        engine.spark.stop()


@pytest.fixture(scope="session")
def filled(engines: dict[str, Engine], catalog: Catalog) -> dict[str, Engine]:
    """Every domain's day, and the day before for orders, through both jobs on both engines."""
    for engine in engines.values():
        for domain in catalog:
            records = bronze_days.RECORDS[domain.name]()
            files = bronze_days.write(engine.lake, domain, bronze_days.DAY, records)
            engine.silver[domain.name] = bronze_to_silver.run(engine.spark, engine.lake, domain, bronze_days.DAY, files)
            engine.gold[domain.name] = silver_to_gold.run(engine.spark, engine.lake, domain, bronze_days.DAY)
            for table in tables_of(engine.lake, domain):
                engine.rows[table] = rows(engine.lake, table)
        orders = catalog["orders"]
        earlier = [
            bronze_days.Record(
                bronze_days.order(
                    900, "delivered", "12.34", created_at=bronze_days.at(-3), updated_at=bronze_days.at(-2)
                )
            )
        ]
        files = bronze_days.write(engine.lake, orders, bronze_days.OTHER_DAY, earlier, files=1, without=["deleted_at"])
        bronze_to_silver.run(engine.spark, engine.lake, orders, bronze_days.OTHER_DAY, files)
        silver_to_gold.run(engine.spark, engine.lake, orders, bronze_days.OTHER_DAY)
    return engines


@pytest.fixture(params=ENGINES)
def engine(request: pytest.FixtureRequest, filled: dict[str, Engine]) -> Engine:
    """Each engine in turn, its lake filled."""
    found: Engine = filled[request.param]
    return found


@pytest.fixture(params=ENGINES)
def empty_engine(request: pytest.FixtureRequest, engines: dict[str, Engine], tmp_path: Path) -> Engine:
    """Each engine in turn with a lake of the test's own."""
    base: Engine = engines[request.param]
    return Engine(base.name, base.remote, base.spark, Lake(Settings(lake_uri=str(tmp_path / "lake"))))
