"""The audit as one call: which stages are looked at, in which order, and what happens when a service is out.

Only the order belongs here; each stage is a module of its own and reads downstream before upstream, so that what
arrives while the audit runs shows as not processed yet and never as a loss. docs/operations.md shows how to read it.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterable, Iterator, Sequence
from contextlib import ExitStack, closing
from datetime import date
from functools import cached_property, partial

from audit.dates import ASKED_FOR, COMPARABLE, dates_of, unavailable, while_unchanged, why
from audit.kafka_log import AuditLog
from audit.repeated_keys import count_repeated_keys
from audit.report import AuditReport, Equation, Reason, Stage, StageResult
from audit.source_database import SourceUnavailableError
from audit.stages import bronze_to_silver, gold_to_warehouse, kafka_to_bronze, silver_to_gold, source_to_silver
from audit.stages.in_transit import SourceAccess
from audit.warehouse_tables import WarehouseTables
from platform_core.clock import SystemClock
from platform_core.domain.catalog import Catalog, Domain
from platform_core.lake.lake import Lake
from platform_core.partitions.date_range import DateRange
from platform_core.partitions.partition_meta import Partition
from platform_core.partitions.partition_meta_delta import DeltaPartitionMeta
from platform_core.partitions.partition_state import State
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
    progress: Progress | None = None,
) -> AuditReport:
    """Reconcile neighbouring layers; nothing is changed anywhere.

    Args:
        domains: Only these; all by default.
        dates: Only these dates. Kafka → Bronze then reads their files alone and does not look for missing offsets.
        stages: Only these; a service is asked only by the stages that need it.
        progress: Called with what is looked at, before each domain's stage and date.

    Returns:
        What was found. A stage whose service does not answer is in the report as not checked.

    Raises:
        ConfigurationError: there is no such domain.
    """
    chosen = [catalog[name] for name in domains] if domains is not None else list(catalog)
    chosen_stages = set(stages) if stages is not None else set(Stage)
    with ExitStack() as stack:
        checks = _Checks(settings, lake, dates or DateRange(), stack, progress or (lambda _: None))
        results = [
            result
            for domain in chosen
            for stage in Stage
            if stage in chosen_stages and (stage is not Stage.SOURCE or source_to_silver.is_comparable(domain))
            for result in checks.of(stage, domain)
        ]
    if domains is None:
        results += of_broken(catalog, chosen_stages)
    return AuditReport(tuple(results))


def of_broken(catalog: Catalog, stages: Collection[Stage]) -> list[StageResult]:
    """Return that nobody looked at the domains that cannot run, with why."""
    return [
        StageResult(stage, name, not_checked=error)
        for name, error in catalog.broken.items()
        for stage in Stage
        if stage in stages
    ]


class _Checks:
    """The stages, with connections that are opened when first needed."""

    def __init__(self, settings: Settings, lake: Lake, dates: DateRange, stack: ExitStack, progress: Progress) -> None:
        self._settings = settings
        self._lake = lake
        self._dates = dates
        self._stack = stack
        self._progress = progress
        self._partitions = DeltaPartitionMeta(lake)

    @cached_property
    def _kafka(self) -> AuditLog:
        return self._stack.enter_context(closing(AuditLog(self._settings)))

    @cached_property
    def _warehouse(self) -> Connection:
        return self._stack.enter_context(connect(self._settings, "pdp:audit"))

    def of(self, stage: Stage, domain: Domain) -> Iterator[StageResult]:
        """Yield the results of a stage; one that could not be looked at says why."""
        self._progress(f"{domain.name}: {stage}")
        results: list[StageResult] = []
        try:
            for result in self._of(stage, domain):
                results.append(result)
                yield result
        except unavailable() as error:
            yield StageResult(stage, domain.name, not_checked=why(error))
            return
        if not results:
            yield self._of_no_date(stage, domain)

    def _of_no_date(self, stage: Stage, domain: Domain) -> StageResult:
        """Return that nothing is to be proven of a domain whose topic has never had a record, or that data is away."""
        dates = "no date" if self._dates.is_open else "none of these dates"
        not_checked = f"there is nothing to look at: `{self._lake.root}` has {dates} of the domain. Check `LAKE_URI`"
        try:
            # A source may have rows of which no record was ever made: its dates are its own to name.
            is_provable = stage is not Stage.SOURCE and self._dates.is_open
            if is_provable and self._kafka.never_had_a_record(domain.topic.name):
                return StageResult(stage, domain.name, equations=(Equation("dates", 0, {}),))
        except unavailable() as error:
            not_checked += f", and whether a record ever came is not known: {why(error)}"
        return StageResult(stage, domain.name, not_checked=not_checked)

    def _of(self, stage: Stage, domain: Domain) -> Iterable[StageResult]:
        lake = self._lake
        match stage:
            case Stage.SOURCE:
                return self._of_source(domain)
            case Stage.BRONZE:
                if self._dates.is_open:
                    return [kafka_to_bronze.compare(lake, domain, self._kafka)]
                return self._of_bronze(domain)
            case Stage.SILVER:
                return self._of_silver(domain)
            case Stage.GOLD:
                return self._each_processed_date(stage, domain, lambda day: silver_to_gold.compare(lake, domain, day))
            case Stage.WAREHOUSE:
                tables = WarehouseTables(self._warehouse, self._settings.snowflake_database, domain)
                return self._each_processed_date(
                    stage,
                    domain,
                    lambda day: gold_to_warehouse.compare(lake, domain, day, tables),
                    tables.dates(self._dates),
                )

    def _of_bronze(self, domain: Domain) -> Iterator[StageResult]:
        lake, is_known = self._lake, False
        for result in self._each_date(
            Stage.BRONZE, domain, lambda day, _: kafka_to_bronze.compare_date(lake, domain, day, self._kafka)
        ):
            yield result
            is_known = True
        if is_known and (gaps := kafka_to_bronze.known_gaps(lake, domain, self._kafka)):
            yield gaps

    def _of_silver(self, domain: Domain) -> Iterator[StageResult]:
        lake = self._lake
        days = []
        for result in self._each_date(
            Stage.SILVER,
            domain,
            lambda day, row: (
                bronze_to_silver.compare(lake, domain, day, row.source_files, is_late=row.status is State.LATE)
                if row is not None and row.status in COMPARABLE
                else bronze_to_silver.not_processed(lake, domain, day)
            ),
        ):
            yield result
            days += [result.day] if result.day else []
        yield from count_repeated_keys(lake, domain, days)

    def _of_source(self, domain: Domain) -> Iterable[StageResult]:
        lake, dsn = self._lake, self._settings.postgres_dsn.get_secret_value()
        if source_to_silver.polled(domain) is None:
            compare_totals = partial(source_to_silver.compare_totals, lake, domain, dsn=dsn)
            return self._each_processed_date(Stage.SOURCE, domain, compare_totals)
        position = source_to_silver.watermark(self._settings, domain)
        access = SourceAccess(dsn, position, lambda: self._kafka, self._partitions)
        days = self._dates_of_source(domain, SystemClock().now().date()) if source_to_silver.is_dated(domain) else None
        if days is None:
            return [source_to_silver.compare(lake, domain, None, access)]
        return self._each(
            Stage.SOURCE, domain, lambda day, _: source_to_silver.compare(lake, domain, day, access), days
        )

    def _dates_of_source(self, domain: Domain, today: date) -> Sequence[date] | None:
        """Return the dates that the source may have: every one from the first that any layer knows.

        None when all are asked for and no layer knows one: from which date on the source may have rows is not known.
        """
        if asked := [day for day in self._dates.days(ASKED_FOR) or () if day <= today]:
            of_range = dates_of(self._lake, domain, self._partitions, within=self._dates)
            if set(asked).issubset(of_range):
                return of_range
        known = dates_of(self._lake, domain, self._partitions)
        if self._dates.is_open and not known:
            return None
        # One that no layer knows is the source's alone, unless all that they know is later.
        days = source_to_silver.dates_to_compare(known, today).union(known)
        return sorted(day for day in days if day in self._dates)

    def _each_processed_date(
        self, stage: Stage, domain: Domain, compare: Callable[[date], StageResult], more: Collection[date] = ()
    ) -> Iterator[StageResult]:
        """Compare the dates that are DONE or LATE, and those that only another layer knows; the rest wait for a run."""

        def look(day: date, row: Partition | None) -> StageResult:
            if (row is None and day not in more) or (row is not None and row.status not in COMPARABLE):
                return StageResult(stage, domain.name, day, (), {Reason.NOT_PROCESSED_YET: 1})
            return compare(day)

        return self._each_date(stage, domain, look, more)

    def _each_date(
        self,
        stage: Stage,
        domain: Domain,
        look: Callable[[date, Partition | None], StageResult],
        more: Collection[date] = (),
    ) -> Iterator[StageResult]:
        return self._each(stage, domain, look, dates_of(self._lake, domain, self._partitions, more, self._dates))

    def _each(
        self,
        stage: Stage,
        domain: Domain,
        look: Callable[[date, Partition | None], StageResult],
        days: Sequence[date],
    ) -> Iterator[StageResult]:
        for number, day in enumerate(days, start=1):
            self._progress(f"{domain.name}: {stage} {day} ({number} of {len(days)})")
            try:
                yield while_unchanged(self._partitions, domain, day, partial(look, day))
            except OUT_OF_SERVICE as error:
                # Each further date would wait for its own time-out.
                text = f"{error.message} {len(days) - number + 1} dates from {day} on were not looked at."
                yield StageResult(stage, domain.name, day, not_checked=text)
                return
            except unavailable() as error:
                yield StageResult(stage, domain.name, day, not_checked=why(error))
