"""The in-memory store against the model, over many random histories."""

from __future__ import annotations

from hypothesis import settings

from platform_core.partitions.partition_meta import PartitionMetaStore
from tests.rigs.lake.memory_partition_meta import InMemoryPartitionMeta
from tests.rigs.lake.partition_machine import PartitionMachine


class MemoryMachine(PartitionMachine):
    def make_store(self) -> PartitionMetaStore:
        return InMemoryPartitionMeta(self.clock)


TestInMemoryStore = MemoryMachine.TestCase
TestInMemoryStore.settings = settings(max_examples=300, stateful_step_count=40, deadline=None)
