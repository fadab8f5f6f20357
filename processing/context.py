"""What one run has in hand while it processes dates of a domain.

It is made where a run begins (`platform_assets`, a test) and handed down; nothing below reads the environment or the
machine's clock.
"""

from __future__ import annotations

from dataclasses import dataclass, field

from platform_core.clock import Clock, SystemClock
from platform_core.domain.catalog import Domain
from platform_core.lake.lake import Lake
from platform_core.partitions.partition_meta import PartitionMetaStore
from platform_core.settings import Settings


@dataclass(frozen=True)
class RunContext:
    """One run of one domain.

    Attributes:
        settings: Of the process.
        lake: Where the layers lie.
        domain: The domain.
        partitions: The partition states.
        run_id: Written to partition_meta, the ledgers and the warehouse's rows.
        discovered: Whether discovery launched the run; a person's run reprocesses DONE dates too.
        clock: Stamps what is written.
    """

    settings: Settings
    lake: Lake
    domain: Domain
    partitions: PartitionMetaStore
    run_id: str
    discovered: bool
    clock: Clock = field(default_factory=SystemClock)
