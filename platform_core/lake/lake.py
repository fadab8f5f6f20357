"""The lake's layout, and the file system that goes with it: who reads or writes the lake gets its paths here.

Add a location here when a stage writes somewhere new; names that the catalog must know are in `paths`. What is inside a
file belongs to the stage that writes it; how a client reaches a bucket belongs to `store_access`, and how a table is
committed to Delta.
"""

from __future__ import annotations

import os
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import date, datetime
from functools import cached_property, lru_cache
from pathlib import Path
from typing import TYPE_CHECKING

import pyarrow as pa
import pyarrow.fs as pafs
import pyarrow.parquet as pq

from platform_core.domain.catalog import Domain
from platform_core.errors import ConfigurationError, TransientError
from platform_core.lake import paths
from platform_core.lake.lake_errors import TRY_AGAIN, answering
from platform_core.lake.store_access import store_access
from platform_core.settings import Settings

if TYPE_CHECKING:
    from deltalake import DeltaTable


@dataclass(frozen=True)
class BronzeFile:
    """One Parquet file that the sink committed.

    Attributes:
        name: The path below the lake's root.
        size: Bytes.
        modified_at: When the store received it, UTC.
    """

    name: str
    size: int
    modified_at: datetime

    @property
    def base_name(self) -> str:
        """The name without the folder."""
        return self.name.rpartition("/")[2]


def is_bronze_file(base_name: str) -> bool:
    """Return whether a file's name says that it is data: Parquet, and neither hidden nor temporary (`.` or `_`)."""
    return base_name.endswith(".parquet") and not base_name.startswith((".", "_"))


class Lake:
    """Paths and file access below one root, a local folder or an object store."""

    partition_meta = f"{paths.METADATA}/partition_meta"
    """The table of partition states."""

    partition_history = f"{paths.METADATA}/partition_history"
    """The table of partition transitions."""

    corrections = f"{paths.METADATA}/corrections"
    """The ledger of what each reprocess changed in Gold."""

    erasures = f"{paths.METADATA}/erasures"
    """The ledger of Bronze files that lost the rows of a person whose data was erased."""

    alerts = f"{paths.METADATA}/alerts"
    """The alerts that were raised, and where each was delivered."""

    offset_coverage = f"{paths.METADATA}/offset_coverage.json"
    """Which offsets Bronze and the dead letters hold, one JSON object."""

    last_audit = f"{paths.METADATA}/last_audit.json"
    """What the last whole audit found, one JSON object."""

    maintenance = f"{paths.METADATA}/maintenance"
    """Folder of what maintenance remembers of its tables, one JSON object a domain."""

    sink_journal = f"{paths.METADATA}/sink_journal"
    """Folder of what the sinks were about to put, one JSON object an entry."""

    producer_state = f"{paths.METADATA}/producer_state"
    """The table of the producers' watermarks and leases, where STATE_IN_LAKE is set."""

    store_clock = f"{paths.METADATA}/store_clock"
    """Folder of small objects that were written to learn the store's time, one a domain."""

    working_copies = f"{paths.METADATA}/working_copies"
    """Folder of copies of small Bronze files in one, each for as long as a job reads it."""

    bronze_compactions = f"{paths.METADATA}/bronze_compactions"
    """Folder of empty objects that name the dates of Bronze whose compaction has not ended."""

    compaction_note = "_compaction.json"
    """The file in a date's folder that says what replaces what, see `platform_core.lake.bronze_compaction`."""

    def __init__(self, settings: Settings) -> None:
        if not settings.lake_uri:
            raise ConfigurationError(
                "`LAKE_URI` is not set. An installed platform has no lake of its own: set it to an absolute folder, or"
                " to s3://bucket or gs://bucket."
            )
        self.root = settings.lake_uri
        self.store = store_access(settings)
        self.is_local = self.store.is_local

    def uri(self, name: str) -> str:
        """Return the full URI of a path below the root, as delta-rs and pyarrow take it."""
        return self.root + name if self.root.endswith("/") else f"{self.root}/{name}"

    def spark_uri(self, name: str) -> str:
        """Return the full URI of a path below the root, as Spark and Sail take it."""
        return self.store.spark_uri(self.uri(name))

    def bronze(self, domain: Domain) -> str:
        """Folder of the domain's Bronze files."""
        return paths.below(domain.bronze.bucket, domain.bronze.prefix)

    def bronze_partition(self, domain: Domain, day: date) -> str:
        """Folder of one date of Bronze, Hive style."""
        return f"{self.bronze(domain)}/{domain.partition_key}={day.isoformat()}"

    def silver(self, domain: Domain) -> str:
        """The domain's Silver table."""
        return paths.below(domain.silver.bucket, domain.silver.prefix)

    def quarantine(self, domain: Domain) -> str:
        """The domain's quarantine table, beside Silver."""
        return paths.quarantine_beside(self.silver(domain))

    def key_versions(self, domain: Domain) -> str:
        """The domain's table of latest versions, beside Silver; only a domain with a global key has it."""
        return paths.key_versions_beside(self.silver(domain))

    def gold(self, domain: Domain, table: str) -> str:
        """One Gold table."""
        return paths.gold_table(domain.gold.bucket, domain.gold.prefix, table)

    @cached_property
    def filesystem(self) -> pafs.FileSystem:
        """The pyarrow file system of the root; paths on it come from `path`."""
        return self.store.filesystem()

    @cached_property
    def _folder_view(self) -> pafs.FileSystem | None:
        return self.store.folder_view()

    def path(self, name: str) -> str:
        """Return the path of `name` as `filesystem` takes it, without a scheme."""
        return self.uri(name).split("://", 1)[-1]

    @cached_property
    def storage_options(self) -> dict[str, str]:
        """The options that delta-rs needs for this root."""
        return self.store.storage_options()

    def delta(self, name: str, version: int | None = None) -> DeltaTable:
        """Open a Delta table, at its newest version by default.

        Raises:
            TableNotFoundError: nobody has created the table.
            DeltaError: Delta does not keep that version any more.
            TransientError: the store did not answer.
        """
        from deltalake import DeltaTable  # here, because the sink uses the lake and never opens a table

        options = self.storage_options or None
        if version is not None:
            return DeltaTable(self.uri(name), version=version, storage_options=options)
        with answering(self.uri(name), "opened"):
            return DeltaTable(self.uri(name), storage_options=options)

    def delta_or_none(self, name: str) -> DeltaTable | None:
        """Open a Delta table at its newest version, None when nobody has created it."""
        from deltalake.exceptions import TableNotFoundError

        try:
            return self.delta(name)
        except TableNotFoundError:
            return None

    def list_dates(self, domain: Domain) -> list[date]:
        """List the dates that have a folder in the domain's Bronze, sorted; no file is listed.

        Raises:
            TransientError: the store did not answer.
        """
        prefix = f"{domain.partition_key}="
        with self._listing(domain, self.bronze(domain)):
            names = self.folders(self.bronze(domain))
        days = (_date(name.removeprefix(prefix)) for name in names if name.startswith(prefix))
        return sorted(day for day in days if day is not None)

    def list_date(self, domain: Domain, day: date) -> list[BronzeFile]:
        """List the Bronze files of one date, sorted by name; while some replace others, those that count.

        Raises:
            UnreadableNoteError: what says which of them count cannot be read.
            TransientError: the store did not answer.
        """
        for last in (False, False, True):
            noted = self._has_note(domain, day)
            files, note = self.list_folder(domain, day)
            if note is None:
                if noted or self._has_note(domain, day):
                    continue  # it came or went while the folder was read, and so may have what it hides
                return files
            from platform_core.lake.bronze_compaction import counting  # it stands on the lake, and is rarely needed

            counted = counting(self, domain, day, files)
            # A compaction may have ended, or made its files count, since the listing.
            if counted is not None and (counted[1] or last):
                return counted[0]
        raise TransientError(
            f"Bronze of domain `{domain.name}`, {day}, changed during each of three listings. Try again."
        )

    def _has_note(self, domain: Domain, day: date) -> bool:
        """See `list_date`; a bucket needs no look of its own, as each page of its listing is of one moment."""
        return (
            self.is_local and Path(self.path(f"{self.bronze_partition(domain, day)}/{self.compaction_note}")).exists()
        )

    def list_folder(self, domain: Domain, day: date) -> tuple[list[BronzeFile], BronzeFile | None]:
        """List every Bronze file in the folder of a date, whether it counts or not, and the note that would say so.

        Raises:
            TransientError: the store did not answer.
        """
        folder = self.bronze_partition(domain, day)
        infos = self._files(domain, folder)
        listed = {info.base_name: BronzeFile(f"{folder}/{info.base_name}", info.size, info.mtime) for info in infos}
        return [listed[name] for name in sorted(listed) if is_bronze_file(name)], listed.get(self.compaction_note)

    def list_bronze(self, domain: Domain) -> dict[date, list[BronzeFile]]:
        """List all Bronze files of the domain by date; its cost grows with the history.

        Raises:
            TransientError: the store did not answer.
        """
        listed = {day: self.list_date(domain, day) for day in self.list_dates(domain)}
        return {day: files for day, files in listed.items() if files}

    def _files(self, domain: Domain, folder: str) -> list[pafs.FileInfo]:
        with self._listing(domain, folder):
            infos = self.filesystem.get_file_info(pafs.FileSelector(self.path(folder), allow_not_found=True))
        return [info for info in infos if info.type is pafs.FileType.File]

    @contextmanager
    def _listing(self, domain: Domain, folder: str) -> Iterator[None]:
        try:
            yield
        except OSError as error:
            raise TransientError(
                f"Listing Bronze of domain `{domain.name}` under `{self.uri(folder)}` failed: {error}. {TRY_AGAIN}"
            ) from error

    def folders(self, name: str) -> list[str]:
        """Return the names of the folders directly below a folder, none if it does not exist.

        Raises:
            OSError: the store did not answer.
        """
        if self.is_local:
            return self._local_folders(name)
        view = self._folder_view
        selector = pafs.FileSelector(name if view else self.path(name), allow_not_found=True)
        infos = (view or self.filesystem).get_file_info(selector)
        return [info.base_name for info in infos if info.type is pafs.FileType.Directory]

    def _local_folders(self, name: str) -> list[str]:
        """See `folders`; pyarrow asks for the size of each entry, which is most of a tick over years of dates."""
        try:
            with os.scandir(self.path(name)) as entries:
                return [each.name for each in entries if each.is_dir()]
        except FileNotFoundError:
            return []

    def count_records(self, files: Iterable[str]) -> int:
        """Return the rows of Parquet files, from their footers.

        Raises:
            TransientError: a file could not be read.
        """
        try:
            return sum(pq.read_metadata(self.path(name), filesystem=self.filesystem).num_rows for name in files)
        except (OSError, pa.ArrowException) as error:
            raise TransientError(f"A footer in `{self.root}` could not be read: {error}. Try again.") from error

    def prepare(self) -> None:
        """Create the root folder of a local lake."""
        if self.is_local:
            Path(self.root).mkdir(parents=True, exist_ok=True)


@lru_cache(maxsize=20_000)  # each tick asks again for every date: years of them cost it as much as its other reads
def _date(text: str) -> date | None:
    """Return the date of a folder that the sink may have made; `20261125` is a date in ISO 8601 too, and is not."""
    try:
        day = date.fromisoformat(text)
    except ValueError:
        return None
    return day if day.isoformat() == text else None
