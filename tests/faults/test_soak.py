"""Everything at once, for `--soak-seconds`: the platform under load while its services, processes and files fail."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from infra.embedded.services.schema_registry import SchemaRegistry
from infra.embedded.services.spark.connect import SparkConnect
from infra.embedded.services.warehouse import WarehouseService
from platform_assets.sensors import discovery_tick
from platform_core.partitions.plan import TickPlan, plan
from processing.claim import Claims
from tests.rigs.faults.faulty_platform import FaultyPlatform, MortalServices
from tests.rigs.faults.revived import revived
from tests.rigs.faults.soak import Soak
from tests.rigs.producers.moved_clock import PostgresWithClock


@pytest.fixture(scope="module")
def services_of_the_module(toolchain, tmp_path_factory) -> Iterator[MortalServices]:
    folder = tmp_path_factory.mktemp("soak")
    with (
        PostgresWithClock(folder / "postgres", toolchain=toolchain, durable=True) as postgres,
        SchemaRegistry(folder / "registry", toolchain=toolchain, durable=True) as registry,
        SparkConnect(folder / "sail", toolchain=toolchain, engine="sail", durable=True) as sail,
        WarehouseService(folder / "warehouse", toolchain=toolchain, durable=True) as warehouse,
    ):
        yield MortalServices(postgres, registry, sail, warehouse)


@pytest.fixture
def make_platform(
    services_of_the_module, mortal_kafka, object_store, s3_lake, tmp_path, seed, monkeypatch
) -> Iterator[Callable[..., FaultyPlatform]]:
    platforms: list[FaultyPlatform] = []
    for service in services_of_the_module.each():
        revived(service)

    def make(mutant: str = "") -> FaultyPlatform:
        objects = Path(object_store.root) / "data" / s3_lake["LAKE_URI"].removeprefix("s3://")
        platforms.append(
            FaultyPlatform(
                mortal_kafka,
                tmp_path / "platform",
                services_of_the_module,
                s3_lake,
                objects,
                seed=seed,
                patch=monkeypatch,
                mutant=mutant,
            )
        )
        return platforms[-1]

    yield make
    for platform in platforms:
        platform.close()


def test_a_soak_of_random_faults_ends_with_a_clean_audit(make_platform, faulty_s3, mortal_kafka, request, seed):
    only = [name for name in request.config.getoption("--soak-faults").split(",") if name]
    platform = make_platform()
    soak = Soak(platform, faulty_s3, mortal_kafka, only)
    with platform.load(100) as acknowledged, platform.life() as committed:
        soak.run(request.config.getoption("--soak-seconds"))
    soak.settle()
    platform.assert_clean(acknowledged, refused=soak.refused)
    report = platform.audit()
    assert report.clean, report.problems or report.not_checked
    print(f"--fault-seed {seed}: {acknowledged.total()} events, {committed[0]} changes of orders, {soak.done}")


def test_the_soak_finds_a_platform_that_takes_vanished_files_for_a_correction(
    make_platform, faulty_s3, mortal_kafka, monkeypatch
):
    claim = Claims.claim

    def forgetful(self, day):
        get = self._run.partitions.get
        monkeypatch.setattr(
            self._run.partitions, "get", lambda *names: (row := get(*names)) and replace(row, source_files=())
        )
        return claim(self, day)

    def blind(*given: Any) -> TickPlan:
        arguments = list(given)
        arguments[7] = lambda _: ()  # the files that a date was made of
        return plan(*arguments)

    monkeypatch.setattr(Claims, "claim", forgetful)
    monkeypatch.setattr(discovery_tick, "plan", blind)
    platform = make_platform()
    soak = Soak(platform, faulty_s3, mortal_kafka, only=["bronze_file_is_removed"])
    with platform.load(100), platform.life(), pytest.raises(AssertionError, match="taken for a correction"):
        soak.run(0)
