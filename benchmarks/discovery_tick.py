"""How long a discovery tick takes when nothing changed, with years of history in the lake.

`python -m benchmarks.discovery_tick --years 3 --files-a-day 1440`. partition_meta is a real Delta table in a temporary
folder; the listing of Bronze is synthetic (6.3 million files need no disk), and costs what pyarrow's own objects cost.
"""

from __future__ import annotations

import argparse
import os
import sys
import tempfile
import time
from collections.abc import Sequence
from datetime import UTC, date, datetime, timedelta
from statistics import median

import dagster as dg
import pyarrow.fs as pafs

from platform_assets.resources.metadata_store import MetadataStore
from platform_assets.sensors.discovery_tick import tick
from platform_core.domain.catalog import Domain, load_catalog
from platform_core.lake.lake import Lake
from platform_core.partitions.fingerprint import file_hash
from platform_core.partitions.listing import DiscoveryCursor
from platform_core.partitions.partition_meta import Change
from platform_core.partitions.partition_meta_delta import DeltaPartitionMeta
from platform_core.partitions.partition_state import Event, State
from platform_core.settings import REPOSITORY, Settings, settings


class SyntheticLake(Lake):
    """A lake whose Bronze has the same number of files each day, and no disk behind it.

    Args:
        config: For the tables' folder.
        days: The dates that have files.
        files_a_day: Files of each.
    """

    def __init__(self, config: Settings, days: Sequence[date], files_a_day: int) -> None:
        super().__init__(config)
        self._days = days
        self._files = files_a_day
        self.listed = 0

    def _listed(self, domain: Domain, folder: str, kind: pafs.FileType) -> list[pafs.FileInfo]:
        if kind is pafs.FileType.Directory:
            return [pafs.FileInfo(f"{folder}/{domain.partition_key}={day}", kind) for day in self._days]
        day = datetime.fromisoformat(f"{folder.rpartition('=')[2]}T12:00:00+00:00")
        self.listed += self._files
        return [
            pafs.FileInfo(f"{folder}/part-{n:05}-{day:%Y%m%d}T000000000000Z.parquet", kind, size=20_000, mtime=day)
            for n in range(self._files)
        ]


class SyntheticStore(MetadataStore):
    """The store whose lake is synthetic."""

    _lake: SyntheticLake | None = None

    def lake(self) -> Lake:
        """Return the synthetic lake."""
        assert self._lake is not None
        return self._lake


def fill(lake: SyntheticLake, domain: Domain, days: Sequence[date]) -> None:
    """Make every date DONE with the files that Bronze has, a year a commit."""
    store = DeltaPartitionMeta(lake)
    for start in range(0, len(days), 365):
        changes = []
        for day in days[start : start + 365]:
            names = tuple(file.name for file in lake.list_date(domain, day))
            pinned = {"source_files": names, "file_hash": file_hash(names), "run_id": "r"}
            changes += [
                Change(domain.name, day, State.UNDISCOVERED, Event.FILES_FOUND, set=pinned),
                Change(domain.name, day, State.PENDING, Event.RUN_STARTED, run_id="r"),
                Change(
                    domain.name,
                    day,
                    State.IN_FLIGHT,
                    Event.SUCCEEDED,
                    run_id="r",
                    set={"processed_at": datetime.now(UTC)},
                ),
            ]
        store.apply(changes)


def main(argv: Sequence[str] | None = None) -> int:
    """Print wall and CPU seconds of ticks over the whole catalog."""
    parser = argparse.ArgumentParser(prog="discovery_tick", description=__doc__)
    parser.add_argument("--years", type=int, default=3)
    parser.add_argument("--files-a-day", type=int, default=1440)
    parser.add_argument("--ticks", type=int, default=5)
    arguments = parser.parse_args(argv)
    newest = datetime.now(UTC).date() - timedelta(days=2)
    days = [newest - timedelta(days=n) for n in range(arguments.years * 365)][::-1]
    catalog = load_catalog(REPOSITORY / "domains" / "domains.yaml")
    with tempfile.TemporaryDirectory(prefix="pdp-bench-") as folder, dg.DagsterInstance.ephemeral() as instance:
        os.environ["LAKE_URI"] = folder
        settings.cache_clear()
        lake = SyntheticLake(settings(), days, arguments.files_a_day)
        store = SyntheticStore()
        object.__setattr__(store, "_lake", lake)
        for domain in catalog:
            fill(lake, domain, days)
        files = len(days) * arguments.files_a_day
        print(f"{len(catalog)} domains x {len(days)} days x {arguments.files_a_day} files = {files * len(catalog):,}")
        print(f"{'domain':<14}{'wall s':>8}{'CPU s':>8}{'files listed':>14}{'runs':>6}")
        for domain in catalog:
            walls, cpus, cursor = [], [], DiscoveryCursor(ledger={0: 0})
            for _ in range(arguments.ticks):
                lake.listed = 0
                wall, cpu = time.monotonic(), time.process_time()
                found = tick(domain, store, instance, cursor, settings())
                walls.append(time.monotonic() - wall)
                cpus.append(time.process_time() - cpu)
                assert found.cursor is not None
                cursor = found.cursor
            print(
                f"{domain.name:<14}{median(walls):>8.2f}{median(cpus):>8.2f}{lake.listed:>14,}"
                f"{len(found.run_requests):>6}"
            )
        domain = next(iter(catalog))
        wall = time.monotonic()
        for day in lake.list_dates(domain):
            file_hash(file.name for file in lake.list_date(domain, day))
        print(f"for comparison, listing and hashing all of `{domain.name}`: {time.monotonic() - wall:.1f} s")
    return 0


if __name__ == "__main__":
    sys.exit(main())
