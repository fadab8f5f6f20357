"""A small platform for the orchestration: Spark, the warehouse, a lake with Bronze made by hand, a Dagster instance."""

from __future__ import annotations

import uuid
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from datetime import UTC, date, datetime, timedelta
from pathlib import Path
from typing import Any

import dagster as dg
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from platform_assets.definitions import build_defs
from platform_assets.resources.metadata_store import MetadataStore
from platform_core.domain.bronze_schema import bronze_schema
from platform_core.domain.catalog import Catalog, load_catalog
from platform_core.lake.lake import Lake
from platform_core.partitions.partition_meta_delta import DeltaPartitionMeta
from platform_core.settings import REPOSITORY, settings

DAY = date(2026, 11, 1)


class PipelineRig:
    """What a test needs to run dates of `events` through Dagster's own machinery."""

    def __init__(self, lake: Lake, catalog: Catalog, instance: dg.DagsterInstance) -> None:
        self.lake = lake
        self.catalog = catalog
        self.events = catalog["events"]
        self.instance = instance
        self.partitions = DeltaPartitionMeta(lake)
        self.defs = build_defs(catalog)
        self.cursor: str | None = None
        self._offset = 0

    def with_quality(self, **changes: Any) -> None:
        """Go on with other rules or thresholds for `events`, as after a change of domains.yaml."""
        self._declare(quality=self.events.quality.model_copy(update=changes))

    def with_global_key(self) -> None:
        """Go on with an `event_id` that is unique over all dates."""
        self._declare(silver=self.events.silver.model_copy(update={"global_key": True}))

    def _declare(self, **changes: Any) -> None:
        self.events = self.events.model_copy(update=changes)
        self.catalog = Catalog([self.events if domain.name == "events" else domain for domain in self.catalog])
        self.defs = build_defs(self.catalog)

    def events_file(self, day: date, rows: int, **changes: Any) -> str:
        """Write one Bronze file as the sink does; `changes` overwrite fields of every row."""
        at = datetime(day.year, day.month, day.day, 10, tzinfo=UTC)
        records = []
        for n in range(rows):
            self._offset += 1
            records.append(
                {
                    "event_id": str(uuid.UUID(int=self._offset)),
                    "event_type": "search",
                    "event_timestamp": at + timedelta(seconds=n),
                    "user_id": n % 7,
                    "session_id": f"s{n % 5}",
                    "device_type": "web",
                    "city": ["Berlin", "Paris"][n % 2],
                    "restaurant_id": None,
                    "order_id": None,
                    "properties": "{}",
                    "_topic": "raw-events",
                    "_partition": n % 3,
                    "_offset": self._offset,
                    "_kafka_timestamp": at,
                    "_key": str(n % 7),
                    "_schema_id": 1,
                    "_ingested_at": at,
                    "_extra": None,
                    **changes,
                }
            )
        table = pa.Table.from_pylist(records, schema=bronze_schema(self.events.contract))
        name = f"{self.lake.bronze_partition(self.events, day)}/part-{uuid.uuid4().hex[:8]}.parquet"
        if self.lake.is_local:  # a bucket has no folders, and what stands for one would be an object
            Path(self.lake.uri(name)).parent.mkdir(parents=True, exist_ok=True)
        pq.write_table(table, self.lake.path(name), filesystem=self.lake.filesystem)
        return name

    def run(self, first: date, last: date | None = None, *, discovered: bool = False) -> dg.ExecuteInProcessResult:
        """Run the events job for one date or a range, as a person (or discovery) would launch it."""
        tags = {"pdp/reason": "PENDING"} if discovered else {}
        if last:
            tags |= {
                "dagster/asset_partition_range_start": first.isoformat(),
                "dagster/asset_partition_range_end": last.isoformat(),
            }
        job = self.defs.resolve_job_def("data_pipeline_events")
        return job.execute_in_process(
            partition_key=None if last else first.isoformat(), tags=tags, instance=self.instance, raise_on_error=False
        )

    def sensor_tick(self) -> Any:
        """Evaluate the discovery sensor of events once; it goes on where the last tick ended."""
        context = dg.build_sensor_context(
            instance=self.instance,
            cursor=self.cursor,
            repository_def=self.defs.get_repository_def(),
            resources={"metadata_store": MetadataStore()},
        )
        sensor = self.defs.resolve_sensor_def("discover_events")
        done = sensor.evaluate_tick(context)
        self.cursor = done.cursor
        return done


@contextmanager
def pipeline_rig_with(
    env: Mapping[str, str],
    monkeypatch: pytest.MonkeyPatch,
    domains_file: Path = REPOSITORY / "domains" / "domains.yaml",
) -> Iterator[PipelineRig]:
    """Yield a rig in an environment, with a Dagster instance of its own."""
    for name, value in env.items():
        monkeypatch.setenv(name, value)
    settings.cache_clear()
    lake = Lake(settings())
    lake.prepare()
    with dg.DagsterInstance.ephemeral() as instance:
        yield PipelineRig(lake, load_catalog(domains_file), instance)
    settings.cache_clear()
