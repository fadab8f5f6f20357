"""Source → Silver, a date: each row of the source database is in Silver in its present version, or on its way.

The rows are those that the domain's `quality.source` query counts. Whether one was polled is known from the
producer's watermark, which is read before everything else: what changes later was not polled yet.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Sequence
from datetime import date, timedelta
from pathlib import Path
from typing import TYPE_CHECKING, Any

import duckdb
import pyarrow as pa

from audit.checks import check_source
from audit.dates import COMPARABLE, open_table, while_unchanged
from audit.duckdb_tables import database, fetch, load_delta, names, one
from audit.kafka_log import AuditLog
from audit.report import MAX_NAMED, Equation, Kind, Problem, Reason, Stage, StageResult
from audit.source_database import read_source_rows, read_tombstones
from audit.stages.in_transit import OnTheWay, SourceRow
from platform_core.clock import SystemClock
from platform_core.domain.catalog import Domain, Source
from platform_core.lake.lake import Lake
from platform_core.partitions.partition_meta import Partition, PartitionMetaReader
from sink.bronze.arrow import bronze_schema

if TYPE_CHECKING:
    from producers.fence import Position

_SELECT_LIST = re.compile(r"^\s*select\s.+?\sfrom\s", re.IGNORECASE | re.DOTALL)


def watermark(state_dir: Path, domain: Domain) -> Position | None:
    """Return how far the domain's producer has polled, None when its file is not on this machine.

    Raises:
        ConfigurationError: the file is not a watermark.
    """
    from producers.watermark import saved_position

    return saved_position(state_dir, domain)


def rows_query(source: Source, columns: Sequence[str]) -> str | None:
    """Return the domain's query with columns in the place of its totals; None if it is no plain SELECT ... FROM."""
    listed = ", ".join(f'"{name}"' for name in columns)
    query, found = _SELECT_LIST.subn(f"select {listed} from ", source.query, count=1)
    return query if found else None


class SourceCheck:
    """Compares the dates of one domain.

    Args:
        domain: The domain; it has a `quality.source`.
        dsn: The source database's URL.
        position: The producer's watermark, read before anything else.
        kafka: Opens Kafka; asked only for rows that are not in Bronze.
    """

    def __init__(
        self,
        domain: Domain,
        lake: Lake,
        partitions: PartitionMetaReader,
        dsn: str,
        position: Position | None,
        kafka: Callable[[], AuditLog],
    ) -> None:
        assert domain.quality.source is not None
        self._domain = domain
        self._source = domain.quality.source
        self._lake = lake
        self._partitions = partitions
        self._dsn = dsn
        self._position = position
        self._kafka = kafka
        self._columns = self._compared()

    def dates(self, known: Sequence[date]) -> set[date]:
        """Return every date from the first that is known to today, for the source may have one that nobody has."""
        today = SystemClock().now().date()
        first = min(known, default=today)
        return {first + timedelta(days=number) for number in range((today - first).days + 1)}

    def check(self, day: date) -> StageResult:
        """Compare one date.

        Raises:
            TransientError: a service did not answer, or the date did not rest.
        """
        query = rows_query(self._source, self._columns)
        if query is None:
            return self._totals_only(day)
        return while_unchanged(self._partitions, self._domain, day, lambda row: self._look(day, row, query))

    def _compared(self) -> list[str]:
        """Return the key, the version, the columns whose totals domains.yaml compares, and `deleted_at`."""
        contract = [column.name for column in self._domain.contract.columns]
        summed = [name for name in contract if any(re.search(rf"\b{name}\b", text) for text in self._source.silver)]
        deleted = [name for name in contract if name == "deleted_at"]
        return list(
            dict.fromkeys([*self._domain.silver.primary_key, *self._domain.silver.order_by[:1], *summed, *deleted])
        )

    def _look(self, day: date, row: Partition | None, query: str) -> StageResult:
        domain, keys = self._domain, self._domain.silver.primary_key
        types = {name: bronze_schema(domain.contract).field(name).type for name in self._columns}
        with database() as connection:
            silver = open_table(self._lake, self._lake.silver(domain))
            load_delta(connection, "silver", silver, domain.partition_key, day, types)
            connection.execute("create temp table source as select * from silver limit 0")
            for batch in read_source_rows(self._dsn, query, day):
                columns = [
                    pa.array(values, kind)
                    for values, kind in zip(zip(*batch, strict=True), types.values(), strict=True)
                ]
                connection.register("_batch", pa.table(columns, names=self._columns))
                connection.execute("insert into source select * from _batch")
                connection.unregister("_batch")
            return self._judge(connection, day, row, len(keys))

    def _judge(
        self, connection: duckdb.DuckDBPyConnection, day: date, row: Partition | None, width: int
    ) -> StageResult:
        domain, keys = self._domain, self._domain.silver.primary_key
        version = domain.silver.order_by[0] if domain.silver.order_by else keys[0]
        joined = f"source a left join silver b using ({names(keys)})"
        newer = f'b."{keys[0]}" is null or b."{version}" < a."{version}"'
        others = [name for name in self._columns if name not in (*keys, version)]
        unequal = " or ".join(
            [f'b."{version}" > a."{version}"', *(f'a."{n}" is distinct from b."{n}"' for n in others)]
        )
        behind = [
            SourceRow(each[:width], each[-1])
            for each in fetch(
                connection, f'select {names(keys, "a")}, a."{version}" from {joined} where {newer} order by all'
            )
        ]
        different = fetch(
            connection, f"select {names(keys, 'a')} from {joined} where not ({newer}) and ({unequal}) order by all"
        )
        # A row that is deleted at the source leaves its last version with `deleted_at`, which stays in Silver.
        alive = 'where "deleted_at" is null' if "deleted_at" in self._columns else ""
        gone = fetch(
            connection, f"select {names(keys)} from (from silver {alive}) anti join source using ({names(keys)})"
        )
        deleted = self._tombstones(version, gone)
        gone = [key for key in gone if key not in deleted]
        behind += [SourceRow(key, at) for key, at in deleted.items()]
        total = one(connection, "select count(*) from source")[0] + len(deleted)
        on_the_way = OnTheWay(domain, self._lake, self._position, self._kafka)
        if behind and self._position is None:
            text = (
                f"{len(behind):,} rows are not in Silver, and the producer's watermark `{domain.name}.json` is not in"
                " `STATE_DIR` of this machine: whether they were polled cannot be told"
            )
            return StageResult(Stage.SOURCE, domain.name, day, not_checked=text)
        reasons = on_the_way.explain(connection, day, row, behind)
        missing = [each for each in behind if each not in reasons]
        counted = {reason: sum(each is reason for each in reasons.values()) for reason in Reason}
        parts: dict[str, int] = {"silver": total - len(behind) - len(different)}
        parts |= {reason: count for reason, count in counted.items() if count}
        parts |= {Kind.MISSING: len(missing), Kind.DIFFERS: len(different)}
        found = [
            (
                Kind.MISSING,
                [str(each) for each in missing],
                "in the source, polled, and neither in Silver nor on its way",
            ),
            (Kind.DIFFERS, [_text(key) for key in different], "the same version has other values in Silver"),
            (Kind.PHANTOM, [_text(key) for key in gone], "in Silver, not in the source any more"),
        ]
        problems = [
            Problem(Stage.SOURCE, domain.name, day, kind, len(some), keys=tuple(some[:MAX_NAMED]), detail=detail)
            for kind, some, detail in found
            if some
        ]
        equation = Equation("source rows", total, parts)
        return StageResult(Stage.SOURCE, domain.name, day, (equation,), counted, tuple(problems))

    def _tombstones(self, version: str, keys: Sequence[tuple[Any, ...]]) -> dict[tuple[Any, ...], Any]:
        """Return the last version of rows that the source has deleted, of a source that keeps tombstones."""
        table = self._domain.tombstone_table
        if len(self._domain.silver.primary_key) != 1 or not keys or table is None:
            return {}
        name = self._domain.silver.primary_key[0]
        values = [key[0] for key in keys]
        return {(key,): at for key, at in read_tombstones(self._dsn, table, name, version, values)}

    def _totals_only(self, day: date) -> StageResult:
        """Compare only the totals, of a query whose rows cannot be asked for."""
        row = self._partitions.get(self._domain.name, day)
        if row is None or row.status not in COMPARABLE:
            return StageResult(Stage.SOURCE, self._domain.name, day, (), {Reason.NOT_PROCESSED_YET: 1})
        outcome = check_source(self._lake, self._domain, day)
        if outcome.passed:
            return StageResult(Stage.SOURCE, self._domain.name, day)
        facts = "; ".join(f"{name}: {text}" for name, text in outcome.facts.items())
        if "not compared" in outcome.facts:
            return StageResult(Stage.SOURCE, self._domain.name, day, not_checked=facts)
        problem = Problem(Stage.SOURCE, self._domain.name, day, Kind.DIFFERS, 1, detail=facts)
        return StageResult(Stage.SOURCE, self._domain.name, day, problems=(problem,))


def _text(key: Sequence[Any]) -> str:
    return " ".join(str(part) for part in key)
