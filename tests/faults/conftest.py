"""A broker that may be killed, a lake behind a proxy that fails, and a fault_rig on both."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from infra.embedded.services.kafka import Kafka
from infra.embedded.services.object_store import ObjectStore
from infra.embedded.toolchain.toolchain import Toolchain
from tests.rigs.faults.fault_rig import FaultRig
from tests.rigs.faults.faulty_s3 import FaultyS3
from tests.rigs.faults.revived import revived


@pytest.fixture(scope="session")
def seed(request: pytest.FixtureRequest) -> int:
    """Replays a run: `pytest tests/faults --fault-seed N`."""
    return int(request.config.getoption("--fault-seed"))


@pytest.fixture(scope="session")
def kafka_of_the_folder(toolchain: Toolchain, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Kafka]:
    """A broker of this folder's own, which keeps its data when it is killed and restarted."""
    with Kafka(tmp_path_factory.mktemp("mortal_kafka"), toolchain=toolchain, durable=True) as service:
        yield service


@pytest.fixture
def mortal_kafka(kafka_of_the_folder: Kafka) -> Kafka:
    """That broker, alive, though the test before this one may have failed while it was dead."""
    return revived(kafka_of_the_folder)


@pytest.fixture
def faulty_s3(object_store: ObjectStore, seed: int) -> Iterator[FaultyS3]:
    proxy = FaultyS3(object_store.env()["S3_ENDPOINT_URL"], seed)
    yield proxy
    proxy.close()


@pytest.fixture
def make_fault_rig(mortal_kafka: Kafka, tmp_path: Path, seed: int) -> Iterator[Callable[..., FaultRig]]:
    """Makes rigs that are cleared away at the end; see `FaultRig` for the arguments."""
    rigs: list[FaultRig] = []

    def make(**options: object) -> FaultRig:
        fault_rig = FaultRig(mortal_kafka, tmp_path / str(len(rigs)), **{"seed": seed, **options})  # type: ignore[arg-type]
        rigs.append(fault_rig)
        return fault_rig

    yield make
    for fault_rig in rigs:
        fault_rig.close()


@pytest.fixture
def fault_rig(make_fault_rig: Callable[..., FaultRig]) -> FaultRig:
    """A fault_rig whose lake is a folder."""
    return make_fault_rig()


@pytest.fixture
def s3_lake(object_store: ObjectStore, faulty_s3: FaultyS3, tmp_path: Path) -> dict[str, str]:
    """The variables of a lake in a bucket behind the proxy."""
    return {
        **object_store.env(),
        "LAKE_URI": f"s3://lake/{tmp_path.name}",
        "S3_ENDPOINT_URL": faulty_s3.endpoint,
    }


@pytest.fixture
def s3_bench(make_fault_rig: Callable[..., FaultRig], s3_lake: dict[str, str]) -> FaultRig:
    """A fault_rig whose lake is a bucket behind the proxy."""
    return make_fault_rig(lake_env=s3_lake)
