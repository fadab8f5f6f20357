"""Fixtures that start real services, each only when a test asks for it, and markers by directory.

Fixtures of one layer belong into that layer's own conftest. How a service is started is in `infra.embedded`; the
layers are explained in https://martinfowler.com/articles/practical-test-pyramid.html.
"""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from infra.embedded.kafka import Kafka
from infra.embedded.object_store import ObjectStore
from infra.embedded.postgres import Postgres
from infra.embedded.progress import Reporter
from infra.embedded.schema_registry import SchemaRegistry
from infra.embedded.spark_connect import SparkConnect
from infra.embedded.toolchain import Toolchain
from infra.embedded.warehouse import Warehouse

LAYERS = ("unit", "spark", "integration", "faults", "e2e")
_TESTS = Path(__file__).resolve().parent


def pytest_addoption(parser: pytest.Parser) -> None:
    parser.addoption(
        "--spark-engine", choices=("spark", "sail"), default="spark", help="what answers the `spark_connect` fixture"
    )
    parser.addoption("--fault-seed", type=int, default=1, help="decides when and how often the faults come")
    parser.addoption("--soak-seconds", type=int, default=300, help="how long the soak lasts")


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Give every test that names no layer the one of its directory; a test beside this file is a unit test."""
    for item in items:
        if not any(item.get_closest_marker(layer) for layer in LAYERS):
            folder = item.path.relative_to(_TESTS).parts[0] if item.path.is_relative_to(_TESTS) else "unit"
            item.add_marker(folder if folder in LAYERS else "unit")


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
def warehouse(toolchain: Toolchain, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Warehouse]:
    """The Snowflake stand-in; `warehouse.env()` has its address and login."""
    with Warehouse(tmp_path_factory.mktemp("warehouse"), toolchain=toolchain) as service:
        yield service


@pytest.fixture(scope="session")
def spark_connect(
    request: pytest.FixtureRequest, toolchain: Toolchain, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[SparkConnect]:
    """A Spark Connect endpoint; `spark_connect.env()["SPARK_REMOTE"]` is its URL."""
    with SparkConnect(
        tmp_path_factory.mktemp("spark"),
        toolchain=toolchain,
        engine=request.config.getoption("--spark-engine"),
        driver_memory="1g",
    ) as service:
        yield service
