"""A broker that may be killed, a lake behind a proxy that fails, and a bench on both."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from faulty_s3 import FaultyS3
from rig import FaultBench

from infra.embedded.kafka import Kafka
from infra.embedded.object_store import ObjectStore
from infra.embedded.toolchain import Toolchain


@pytest.fixture(scope="session")
def seed(request: pytest.FixtureRequest) -> int:
    """Replays a run: `pytest tests/faults --fault-seed N`."""
    return int(request.config.getoption("--fault-seed"))


@pytest.fixture(scope="session")
def mortal_kafka(toolchain: Toolchain, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Kafka]:
    """A broker of this folder's own, which keeps its data when it is killed and restarted."""
    with Kafka(tmp_path_factory.mktemp("mortal_kafka"), toolchain=toolchain, durable=True) as service:
        yield service


@pytest.fixture
def faulty_s3(object_store: ObjectStore, seed: int) -> Iterator[FaultyS3]:
    proxy = FaultyS3(object_store.env()["S3_ENDPOINT_URL"], seed)
    yield proxy
    proxy.close()


@pytest.fixture
def make_bench(mortal_kafka: Kafka, tmp_path: Path, seed: int) -> Iterator[Callable[..., FaultBench]]:
    """Makes benches that are cleared away at the end; see `FaultBench` for the arguments."""
    benches: list[FaultBench] = []

    def make(**options: object) -> FaultBench:
        bench = FaultBench(mortal_kafka, tmp_path / str(len(benches)), seed=seed, **options)  # type: ignore[arg-type]
        benches.append(bench)
        return bench

    yield make
    for bench in benches:
        bench.close()


@pytest.fixture
def bench(make_bench: Callable[..., FaultBench]) -> FaultBench:
    """A bench whose lake is a folder."""
    return make_bench()


@pytest.fixture
def s3_lake(object_store: ObjectStore, faulty_s3: FaultyS3, tmp_path: Path) -> dict[str, str]:
    """The variables of a lake in a bucket behind the proxy."""
    return {
        **object_store.env(),
        "LAKE_URI": f"s3://lake/{tmp_path.name}",
        "S3_ENDPOINT_URL": faulty_s3.endpoint,
    }


@pytest.fixture
def s3_bench(make_bench: Callable[..., FaultBench], s3_lake: dict[str, str]) -> FaultBench:
    """A bench whose lake is a bucket behind the proxy."""
    return make_bench(lake_env=s3_lake)
