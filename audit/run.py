"""The audit as one call: which stages are looked at, in which order, and what happens when a service is out.

Only the order belongs here; each stage is a module of its own and reads downstream before upstream, so that what
arrives while the audit runs shows as not processed yet and never as a loss. docs/operations.md shows how to read it.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterable, Iterator, Sequence
from contextlib import ExitStack, closing
from datetime import date

from audit.dates import UNAVAILABLE, dates_of, why
from audit.kafka_log import AuditLog
from audit.report import AuditReport, Stage, StageResult
from audit.source_database import SourceUnavailableError
from audit.stages import bronze_to_silver, gold_to_warehouse, kafka_to_bronze, silver_to_gold, source_to_silver
from platform_core.domain.catalog import Catalog, Domain
from platform_core.lake.lake import Lake
from platform_core.partitions.date_range import DateRange
from platform_core.partitions.partition_meta_delta import DeltaPartitionMeta
from platform_core.settings import Settings
from platform_kafka.errors import KafkaUnreachableError
from warehouse.connection import connect
from warehouse.load import Connection, WarehouseUnavailableError

Progress = Callable[[str], None]

OUT_OF_SERVICE = (KafkaUnreachableError, SourceUnavailableError, WarehouseUnavailableError)


def audit(
    settings: Settings,
    catalog: Catalog,
    lake: Lake,
    *,
    domains: Sequence[str] | None = None,
    dates: DateRange | None = None,
    stages: Collection[Stage] | None = None,
    warehouse: Callable[[], Connection] | None = None,
    progress: Progress | None = None,
) -> AuditReport:
    """Reconcile neighbouring layers; nothing is changed anywhere.

    Args:
        domains: Only these; all by default.
        dates: Only these dates. Kafka → Bronze has no dates, an offset is lost or not, and ignores it.
        stages: Only these; a service is asked only by the stages that need it.
        warehouse: Opens a connection; by default that of the settings.
        progress: Told what is looked at, before each domain's stage and date.

    Returns:
        What was found. A stage whose service does not answer is in the report as not checked.

    Raises:
        ConfigurationError: there is no such domain.
    """
    tell = progress or (lambda _: None)
    chosen = [catalog[name] for name in domains] if domains is not None else list(catalog)
    wanted = set(stages) if stages is not None else set(Stage)
    checks = _Checks(settings, lake, dates or DateRange(), warehouse, tell)
    with checks:
        results = [
            result for domain in chosen for stage in Stage if stage in wanted for result in checks.of(stage, domain)
        ]
    return AuditReport(tuple(results))


class _Checks:
    """The stages, with connections that are opened when first needed and closed at the end."""

    def __init__(
        self,
        settings: Settings,
        lake: Lake,
        dates: DateRange,
        warehouse: Callable[[], Connection] | None,
        tell: Progress,
    ) -> None:
        self._settings = settings
        self._lake = lake
        self._dates = dates
        self._open = warehouse
        self._tell = tell
        self._stack = ExitStack()
        self._kafka: AuditLog | None = None
        self._connection: Connection | None = None
        self._partitions = DeltaPartitionMeta(lake)

    def __enter__(self) -> _Checks:
        return self

    def __exit__(self, *_: object) -> None:
        self._stack.close()

    def of(self, stage: Stage, domain: Domain) -> Iterator[StageResult]:
        """Yield the results of a stage; one that could not be looked at says why."""
        self._tell(f"{domain.name}: {stage}")
        try:
            yield from self._of(stage, domain)
        except UNAVAILABLE as error:
            yield StageResult(stage, domain.name, not_checked=why(error))

    def _of(self, stage: Stage, domain: Domain) -> Iterable[StageResult]:
        match stage:
            case Stage.SOURCE:
                if domain.quality.source is None:
                    return []
                dsn = self._settings.postgres_dsn.get_secret_value()
                watermark = source_to_silver.watermark(self._settings.state_dir, domain)
                source = source_to_silver.SourceCheck(
                    domain, self._lake, self._partitions, dsn, watermark, self._kafka_log
                )
                known = dates_of(domain, self._lake, self._partitions)
                return self._each_date(stage, domain, source.check, source.dates(known))
            case Stage.BRONZE:
                return [kafka_to_bronze.check(domain, self._lake, self._kafka_log())]
            case Stage.SILVER:
                return self._each_date(
                    stage, domain, lambda day: bronze_to_silver.check(domain, self._lake, self._partitions, day)
                )
            case Stage.GOLD:
                return self._each_date(
                    stage, domain, lambda day: silver_to_gold.check(domain, self._lake, self._partitions, day)
                )
            case Stage.WAREHOUSE:
                connection, database = self._warehouse(), self._settings.snowflake_database
                loaded = gold_to_warehouse.WarehouseCheck(domain, self._lake, self._partitions, connection, database)
                more = loaded.dates()
                return self._each_date(stage, domain, loaded.check, more)

    def _each_date(
        self, stage: Stage, domain: Domain, check: Callable[[date], StageResult], more: Collection[date] = ()
    ) -> Iterator[StageResult]:
        days = [day for day in dates_of(domain, self._lake, self._partitions, more) if day in self._dates]
        for number, day in enumerate(days, start=1):
            self._tell(f"{domain.name}: {stage} {day} ({number} of {len(days)})")
            try:
                yield check(day)
            except OUT_OF_SERVICE as error:
                # Each further date would wait for its own time-out.
                text = f"{error.message} {len(days) - number + 1} dates from {day} on were not looked at."
                yield StageResult(stage, domain.name, day, not_checked=text)
                return
            except UNAVAILABLE as error:
                yield StageResult(stage, domain.name, day, not_checked=why(error))

    def _kafka_log(self) -> AuditLog:
        if self._kafka is None:
            self._kafka = self._stack.enter_context(closing(AuditLog(self._settings)))
        return self._kafka

    def _warehouse(self) -> Connection:
        if self._connection is None:
            if self._open is not None:
                with gold_to_warehouse.explained():
                    self._connection = self._open()
                close = getattr(self._connection, "close", None)
                if close is not None:
                    self._stack.callback(close)
            else:
                self._connection = self._stack.enter_context(connect(self._settings, "pdp:audit"))
        return self._connection
