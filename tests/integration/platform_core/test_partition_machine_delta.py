"""The store that production uses against the model; fewer histories, because each step is a commit."""

from __future__ import annotations

import tempfile

from hypothesis import HealthCheck, settings

from platform_core.lake.lake import Lake
from platform_core.partitions.partition_meta import PartitionMetaStore
from platform_core.partitions.partition_meta_delta import DeltaPartitionMeta
from platform_core.settings import Settings
from tests.rigs.lake.partition_machine import PartitionMachine


class DeltaMachine(PartitionMachine):
    def make_store(self) -> PartitionMetaStore:
        self.folder = tempfile.TemporaryDirectory(prefix="pdp-machine-")
        lake = Lake(Settings(lake_uri=f"{self.folder.name}/lake"))
        lake.prepare()
        return DeltaPartitionMeta(lake, self.clock)

    def teardown(self) -> None:
        super().teardown()
        self.folder.cleanup()


TestDeltaStore = DeltaMachine.TestCase
TestDeltaStore.settings = settings(
    max_examples=15, stateful_step_count=25, deadline=None, suppress_health_check=[HealthCheck.too_slow]
)
