"""A platform without processes: a lake, a Dagster instance on its real storage, and the commands, in this process.

A date goes the way that it goes in production: Bronze, a tick of discovery, the run that the tick asks for. What is
done on which day belongs to `past`.
"""

from __future__ import annotations

import io
import os
import shutil
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager, redirect_stderr, redirect_stdout
from dataclasses import replace
from datetime import date, timedelta
from pathlib import Path

import dagster as dg
from typer.testing import CliRunner

from benchmarks.years.records import write_file
from pdp.cli import app
from platform_assets.definitions import build_defs
from platform_assets.resources.metadata_store import MetadataStore
from platform_assets.sensors.discovery_tick import Tick, tick
from platform_core.domain.catalog import Catalog
from platform_core.lake.lake import Lake
from platform_core.partitions.listing import FILES_A_REQUEST, DiscoveryCursor
from platform_core.partitions.partition_meta_delta import DeltaPartitionMeta
from platform_core.settings import REPOSITORY, settings

RECORDS = 20
LATE_RECORDS = 3
UNSETTLED = {"PARTITION_SETTLE_SECONDS": "0", "PARTITION_QUICK_SETTLE_SECONDS": "0"}
"""A file that was just written may be processed at once: nothing else about the rule is measured here."""

SLICE_OF_A_WEEK = {"DISCOVERY_SCAN_FILES": str(7 * FILES_A_REQUEST)}
"""As many dates on either side: by default a tick lists ten that nobody announced, and the first week has seven."""


class YearsPlatform:
    """One platform in a folder.

    Args:
        folder: Gets the lake and Dagster's storage.
        catalog: Its domains.
        services: Variables of the engine and of the warehouse.
    """

    def __init__(self, folder: Path, catalog: Catalog, services: Mapping[str, str]) -> None:
        self.folder = folder
        self.catalog = catalog
        database = "T" + "".join(filter(str.isalnum, folder.name)).upper()
        self.home = folder / "dagster"
        self._variables = {
            **services,
            **UNSETTLED,
            **SLICE_OF_A_WEEK,
            "LAKE_URI": str(folder / "lake"),
            "DAGSTER_HOME": str(self.home),
            "SNOWFLAKE_DATABASE": database,
        }
        self.home.mkdir(parents=True, exist_ok=True)
        shutil.copy(REPOSITORY / "dagster.yaml", self.home)
        self._cursors: dict[str, DiscoveryCursor] = {}
        with self.entered():
            self.lake = Lake(settings())
            self.lake.prepare()
            self.defs = build_defs(catalog)
            self.instance = dg.DagsterInstance.from_config(str(self.home))
        self.partitions = DeltaPartitionMeta(self.lake)

    @contextmanager
    def entered(self) -> Iterator[None]:
        """Make this process one of this platform's."""
        before = dict(os.environ)
        os.environ.update(self._variables)
        settings.cache_clear()
        try:
            yield
        finally:
            os.environ.clear()
            os.environ.update(before)
            settings.cache_clear()

    def tick(self, name: str) -> Tick:
        """Make one tick of a domain's discovery, where the one before it ended."""
        done = tick(
            self.catalog[name],
            MetadataStore(),
            self.instance,
            self._cursors.get(name, DiscoveryCursor()),
            settings(),
        )
        if done.cursor is not None:
            self._cursors[name] = done.cursor
        return done

    def process(self, name: str, day: date, first: int = 0, records: int = RECORDS) -> None:
        """Let a file of a date arrive, which the sink announces, and run what discovery asks for.

        Raises:
            RuntimeError: the date is not DONE with that file.
        """
        with self.entered():
            file = write_file(self.lake, self.catalog[name], day, first, records)
            cursor = self._cursors.get(name, DiscoveryCursor())
            # Unannounced, a late file waits for the slice that a tick lists, which takes years of dates many ticks.
            self._cursors[name] = replace(cursor, relist=cursor.relist | {day})
            for request in self.tick(name).run_requests:
                self._run(name, request)
            row = self.partitions.get(name, day)
        if row is None or row.status != "DONE" or file not in row.source_files:
            raise RuntimeError(f"`{name}` {day} is not DONE with `{file}`: {row}")

    def _run(self, name: str, request: dg.RunRequest) -> None:
        job = self.defs.resolve_job_def(f"data_pipeline_{name}")
        tags = {**request.tags, **({"dagster/run_key": request.run_key} if request.run_key else {})}
        job.execute_in_process(
            partition_key=request.partition_key, tags=tags, instance=self.instance, raise_on_error=False
        )

    def maintain(self) -> None:
        """Run every job of maintenance once, as their schedules do each night.

        Raises:
            RuntimeError: one of them failed.
        """
        with self.entered():
            for name in [*self.catalog.names, "platform"]:
                job = self.defs.resolve_job_def(f"maintenance_{name}")
                if not job.execute_in_process(instance=self.instance, raise_on_error=False).success:
                    raise RuntimeError(f"Maintenance of `{name}` failed; the reason is in its log above.")

    def command(self, *arguments: str) -> str:
        """Run a `pdp` command in this process and return what it prints.

        Raises:
            RuntimeError: it ended with an error.
        """
        with self.entered():
            done = CliRunner().invoke(app, list(arguments))
        if done.exit_code:
            raise RuntimeError(f"`pdp {' '.join(arguments)}` ended with {done.exit_code}: {done.output}")
        return done.output


@contextmanager
def quiet() -> Iterator[None]:
    """Keep what Dagster prints of each run from the table that a person waits for."""
    with redirect_stdout(io.StringIO()), redirect_stderr(io.StringIO()):
        yield


def days_from(first: date, count: int) -> Sequence[date]:
    """Return consecutive dates."""
    return [first + timedelta(days=n) for n in range(count)]
