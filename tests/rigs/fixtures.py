"""The fixtures that tests of several folders share: real services for a session, and a rig a test.

A rig is what a test acts on: its own topics, lake or database on a service that others use too. A fixture that one
folder alone needs belongs into that folder's conftest.
"""

from __future__ import annotations

import uuid
from collections.abc import Iterator
from pathlib import Path

import pytest

from infra.embedded.progress import Reporter
from infra.embedded.services.kafka import Kafka
from infra.embedded.services.object_store import ObjectStore
from infra.embedded.services.postgres import Postgres
from infra.embedded.services.schema_registry import SchemaRegistry
from infra.embedded.services.spark.connect import SparkConnect
from infra.embedded.services.warehouse import WarehouseService
from infra.embedded.toolchain.toolchain import Toolchain
from platform_core.domain.catalog import Catalog, load_catalog
from platform_core.settings import REPOSITORY
from platform_kafka.provision import provision
from tests.rigs.pipeline_rig import PipelineRig, pipeline_rig_with
from tests.rigs.producers.rig import ProducersRig, producers_rig_on
from tests.rigs.sink.rig import SinkRig
from tests.rigs.spark.server import SparkServer


@pytest.fixture(scope="session")
def toolchain() -> Toolchain:
    """The repository's own toolchain: a first run downloads it, later runs do not."""
    return Toolchain(reporter=Reporter())


@pytest.fixture(scope="session")
def kafka(toolchain: Toolchain, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Kafka]:
    """One broker; `kafka.env()` has its address and logins."""
    with Kafka(tmp_path_factory.mktemp("kafka"), toolchain=toolchain) as service:
        yield service


@pytest.fixture(scope="session")
def schema_registry(toolchain: Toolchain, tmp_path_factory: pytest.TempPathFactory) -> Iterator[SchemaRegistry]:
    """One schema registry; `schema_registry.env()` has its URL."""
    with SchemaRegistry(tmp_path_factory.mktemp("schema_registry"), toolchain=toolchain) as service:
        yield service


@pytest.fixture(scope="session")
def postgres(toolchain: Toolchain, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Postgres]:
    """One Postgres server with the empty database `shop`; `postgres.env()` has its URL."""
    with Postgres(tmp_path_factory.mktemp("postgres"), toolchain=toolchain) as service:
        yield service


@pytest.fixture(scope="session")
def object_store(toolchain: Toolchain, tmp_path_factory: pytest.TempPathFactory) -> Iterator[ObjectStore]:
    """One S3 server with the empty bucket `lake`; `object_store.env()` has its address and login."""
    with ObjectStore(tmp_path_factory.mktemp("object_store"), toolchain=toolchain) as service:
        yield service


@pytest.fixture(scope="session")
def warehouse(toolchain: Toolchain, tmp_path_factory: pytest.TempPathFactory) -> Iterator[WarehouseService]:
    """The Snowflake stand-in; `warehouse.env()` has its address and login."""
    with WarehouseService(tmp_path_factory.mktemp("warehouse"), toolchain=toolchain) as service:
        yield service


@pytest.fixture(scope="session")
def spark_connect(toolchain: Toolchain, tmp_path_factory: pytest.TempPathFactory) -> Iterator[SparkServer]:
    """Spark behind Spark Connect; `spark_connect.env()["SPARK_REMOTE"]` is its URL."""
    with SparkServer(tmp_path_factory.mktemp("spark"), toolchain=toolchain, driver_memory="1g") as service:
        yield service


@pytest.fixture(scope="session")
def sail(toolchain: Toolchain, tmp_path_factory: pytest.TempPathFactory) -> Iterator[SparkConnect]:
    """Sail behind Spark Connect: for a test that needs an engine and does not care which."""
    with SparkConnect(tmp_path_factory.mktemp("sail"), toolchain=toolchain, engine="sail") as service:
        yield service


@pytest.fixture
def pipeline_engine(request: pytest.FixtureRequest) -> SparkConnect:
    """What `pipeline_rig` computes with: Sail, unless `--spark-engine spark`."""
    name = {"sail": "sail", "spark": "spark_connect"}[request.config.getoption("--spark-engine")]
    service: SparkConnect = request.getfixturevalue(name)
    return service


@pytest.fixture(scope="session")
def catalog() -> Catalog:
    """The domains of the repository."""
    return load_catalog(REPOSITORY / "domains" / "domains.yaml")


@pytest.fixture
def sink_rig(kafka: Kafka, tmp_path: Path) -> Iterator[SinkRig]:
    """An events topic of the test's own, its lake, and the sinks that the test starts."""
    rig = SinkRig(kafka, tmp_path)
    yield rig
    rig.close()


@pytest.fixture
def producers_rig(
    kafka: Kafka, schema_registry: SchemaRegistry, postgres: Postgres, tmp_path: Path
) -> Iterator[ProducersRig]:
    """An empty shop, and topics that nobody has provisioned yet."""
    with producers_rig_on(kafka, schema_registry, postgres, tmp_path) as rig:
        yield rig


@pytest.fixture
def provisioned(producers_rig: ProducersRig) -> ProducersRig:
    """The same, provisioned."""
    provision(producers_rig.settings, producers_rig.catalog)
    return producers_rig


@pytest.fixture
def pipeline_lake(tmp_path: Path) -> dict[str, str]:
    """The variables of the lake of `pipeline_rig`: a folder of the test's own."""
    return {"LAKE_URI": str(tmp_path / "lake")}


@pytest.fixture
def pipeline_rig(
    pipeline_engine: SparkConnect,
    warehouse: WarehouseService,
    pipeline_lake: dict[str, str],
    monkeypatch: pytest.MonkeyPatch,
) -> Iterator[PipelineRig]:
    """A lake, a Dagster instance and a database of the warehouse of the test's own."""
    env = {
        **pipeline_engine.env(),
        **warehouse.env(),
        **pipeline_lake,
        "PARTITION_SETTLE_SECONDS": "0",
        "PARTITION_RETRY_BACKOFF_SECONDS": "0",
        "SNOWFLAKE_DATABASE": f"T{uuid.uuid4().hex[:10]}",
    }
    with pipeline_rig_with(env, monkeypatch) as rig:
        yield rig


@pytest.fixture
def tick_rig(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[PipelineRig]:
    """A lake and a Dagster instance of the test's own, without an engine: enough for a sensor."""
    env = {"LAKE_URI": str(tmp_path / "lake"), "PARTITION_SETTLE_SECONDS": "0"}
    with pipeline_rig_with(env, monkeypatch) as rig:
        yield rig


@pytest.fixture
def sink_pipeline_rig(
    sink_rig: SinkRig, sail: SparkConnect, warehouse: WarehouseService, monkeypatch: pytest.MonkeyPatch
) -> Iterator[PipelineRig]:
    """The pipeline, on Sail, over the topic and the lake of `sink_rig`."""
    env = {
        **sink_rig.env,
        **sail.env(),
        **warehouse.env(),
        "PARTITION_SETTLE_SECONDS": "0",
        "PARTITION_READY_HOUR_UTC": "0",  # before 06:00 UTC yesterday is not due
        "SNOWFLAKE_DATABASE": f"T{uuid.uuid4().hex[:10]}",
    }
    sink_rig.create_topics()
    with pipeline_rig_with(env, monkeypatch, sink_rig.domains_file) as rig:
        yield rig
