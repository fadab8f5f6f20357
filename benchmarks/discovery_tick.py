"""The case `tick`: a discovery tick when nothing changed, with years of history in the lake.

partition_meta is a real Delta table in a temporary folder; the listing of Bronze is synthetic (6.3 million files need
no disk), and costs what pyarrow's own objects cost. The peer is the simpler way: list and hash all of Bronze.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from datetime import UTC, date, datetime, timedelta
from pathlib import Path

import dagster as dg
import pyarrow.fs as pafs

from benchmarks.frame import Case, Contestant
from benchmarks.usage import Usage, of_call
from platform_assets.resources.metadata_store import MetadataStore
from platform_assets.sensors.discovery_tick import tick
from platform_core.domain.catalog import Domain, load_catalog
from platform_core.lake.lake import Lake
from platform_core.partitions.fingerprint import file_hash
from platform_core.partitions.listing import DiscoveryCursor
from platform_core.partitions.partition_meta import Change
from platform_core.partitions.partition_meta_delta import DeltaPartitionMeta
from platform_core.partitions.partition_state import Event, State
from platform_core.settings import REPOSITORY, Settings

DATES = 3 * 365
FILES_A_DATE = 1_440


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
        self._files_a_day = files_a_day

    def list_dates(self, domain: Domain) -> list[date]:
        """Return the same dates for each domain."""
        return list(self._days)

    def _files(self, domain: Domain, folder: str) -> list[pafs.FileInfo]:
        day = datetime.fromisoformat(f"{folder.rpartition('=')[2]}T12:00:00+00:00")
        return [
            pafs.FileInfo(
                f"{folder}/part-{n:05}-{day:%Y%m%d}T000000000000Z.parquet", pafs.FileType.File, size=20_000, mtime=day
            )
            for n in range(self._files_a_day)
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


@contextmanager
def prepared(folder: Path, files_a_date: int | None) -> Iterator[Case]:
    """Fill partition_meta for three years and every domain, and offer the contestants.

    Args:
        folder: Gets partition_meta.
        files_a_date: Bronze files of each date and domain.
    """
    files_a_date = files_a_date or FILES_A_DATE
    newest = datetime.now(UTC).date() - timedelta(days=2)
    days = [newest - timedelta(days=n) for n in range(DATES)][::-1]
    catalog = load_catalog(REPOSITORY / "domains" / "domains.yaml")
    config = Settings(lake_uri=str(folder))  # type: ignore[call-arg]
    lake = SyntheticLake(config, days, files_a_date)
    store = SyntheticStore()
    object.__setattr__(store, "_lake", lake)
    for domain in catalog:
        fill(lake, domain, days)
    cursors = {domain.name: DiscoveryCursor(ledger={0: 0}) for domain in catalog}
    with dg.DagsterInstance.ephemeral() as instance:

        def tick_all(_: Path) -> Usage:
            return of_call(lambda: [ticked(domain) for domain in catalog])

        def ticked(domain: Domain) -> None:
            decided = tick(domain, store, instance, cursors[domain.name], config)
            if decided.run_requests or decided.cursor is None:
                raise ValueError(f"A tick of `{domain.name}` launches runs, though nothing has changed")
            cursors[domain.name] = decided.cursor

        yield Case(
            name="tick",
            title="A discovery tick of every domain when nothing changed",
            size=f"{len(catalog)} domains × {DATES:,} dates × {files_a_date:,} files",
            contestants=[
                Contestant("all of Bronze", lambda _: of_call(lambda: [_hash_all(lake, domain) for domain in catalog])),
                Contestant("tick", tick_all),
            ],
        )


def _hash_all(lake: Lake, domain: Domain) -> None:
    for day in lake.list_dates(domain):
        file_hash(file.name for file in lake.list_date(domain, day))
