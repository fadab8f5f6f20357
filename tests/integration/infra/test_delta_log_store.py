"""Commits to one Delta log on S3 by two drivers and delta-rs: each version belongs to one of them, and none is lost.

Two JVMs call the log store as two Spark drivers do, and a proxy holds their PUTs until both have looked at the log, so
that they meet in nearly every version. The stock store must lose commits here: else these tests could not fail.
"""

from __future__ import annotations

import uuid
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor

import pytest
from deltalake import DeltaTable, Field, Schema
from deltalake.schema import PrimitiveType
from deltalake.transaction import AddAction, CommitProperties

from infra.embedded.services.object_store import ObjectStore
from infra.embedded.toolchain.toolchain import Toolchain
from platform_core.lake.lake import Lake
from tests.rigs.faults.faulty_s3 import Fault
from tests.rigs.log_store.meeting_s3 import CONFLICT, MeetingS3
from tests.rigs.log_store.writers import CONDITIONAL, STOCK, Commits, Writers
from tests.rigs.settings_of import settings_of

COMMITS = 10
SCHEMA = Schema([Field("n", PrimitiveType("long"))])


class Race:
    """An empty table behind the proxy, and those who write to it."""

    def __init__(self, writers: Writers, store: ObjectStore, seed: int) -> None:
        self.proxy = MeetingS3(store.env()["S3_ENDPOINT_URL"], seed)
        self._writers = writers
        env = {**store.env(), "LAKE_URI": f"s3://lake/{uuid.uuid4().hex}"}
        self.lake = Lake(settings_of({**env, "S3_ENDPOINT_URL": self.proxy.endpoint}))
        self._direct = Lake(settings_of(env))
        DeltaTable.create(self.lake.uri("t"), SCHEMA, storage_options=self.lake.storage_options)

    def spark(self, log_store: str) -> list[Commits]:
        return self._writers.commit(log_store, self.lake.spark_uri("t"), COMMITS, self.lake.store.spark_properties())

    def delta_rs(self) -> Commits:
        """delta-rs beside them; not by a proxy with faults, since it calls a commit failed whose reply is lost."""
        lake = self._direct if self.proxy.fault else self.lake
        believed = []
        for number in range(COMMITS):
            file = f"rs-{number}.parquet"
            lake.delta("t").create_write_transaction(
                [AddAction(file, 1, {}, 1, True, "{}")],
                "append",
                SCHEMA,
                commit_properties=CommitProperties(max_commit_retries=100),
            )
            believed.append(file)
        return Commits(believed, [])

    def table(self) -> tuple[int, list[str]]:
        """The version after the table's first, and its files."""
        table = self.lake.delta("t")
        return table.version(), sorted(uri.rpartition("/")[2] for uri in table.file_uris())


@pytest.fixture(scope="module")
def writers(toolchain: Toolchain) -> Iterator[Writers]:
    with Writers(toolchain) as started:
        yield started


@pytest.fixture
def race(writers: Writers, object_store: ObjectStore) -> Iterator[Race]:
    race = Race(writers, object_store, seed=1)
    yield race
    race.proxy.close()


def test_the_stock_store_loses_commits_of_two_drivers(race: Race) -> None:
    believed = sorted(file for commits in race.spark(STOCK) for file in commits.believed)
    version, files = race.table()
    assert len(believed) == 2 * COMMITS
    assert version < len(believed)
    assert len(files) < len(believed)


@pytest.mark.parametrize("fault", [None, Fault.REPLY_LOST, CONFLICT])
def test_two_drivers_and_delta_rs_lose_no_commit_and_make_none_twice(race: Race, fault: str | None) -> None:
    race.proxy.fault, race.proxy.rate = fault, 0.3
    with ThreadPoolExecutor(1) as pool:
        beside = pool.submit(race.delta_rs)
        commits = [*race.spark(CONDITIONAL), beside.result()]
    race.proxy.fault = None
    assert [error for each in commits for error in each.failed] == []
    believed = sorted(file for each in commits for file in each.believed)
    assert race.table() == (3 * COMMITS, believed)
    assert race.proxy.meetings > 1, "the writers hardly met; how often they do is the machine's business"
    assert not fault or race.proxy.counts[fault] > 3
