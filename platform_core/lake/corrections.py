"""The correction ledger: what each reprocess of a date changed in Gold, why, and by which run.

It answers "why did Saturday's revenue change?". One line a changed Gold row with its values before and after, and
one line for a table in which nothing changed. Deciding the cause belongs to the run, showing it to the command line.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from datetime import date, datetime
from decimal import Decimal
from typing import Any

import pyarrow as pa
from deltalake import write_deltalake

from platform_core.errors import TransientError
from platform_core.lake.contended_table import ContendedTable
from platform_core.lake.lake import Lake
from platform_core.lake.row_schema import schema_of


@dataclass(frozen=True)
class Correction:
    """One Gold row that a reprocess changed.

    Attributes:
        correction_id: The same for all lines of one reprocess, however often it had to be tried.
        partition_date: The date that was reprocessed.
        at: When, UTC.
        run_id: The Dagster run.
        cause: Why: `late files`, `rows moved`, `code change`, `backfill`, joined by ` + `.
        new_files: Bronze files that the date has gained since it was last DONE.
        gone_files: Bronze files that it has lost.
        record_difference: Bronze records now minus before.
        change: `inserted`, `updated`, `deleted`, or `none` for the one line of a table that stayed as it was; `unknown`
            for that of a table whose rows before are no longer kept.
        key: The row's merge keys, JSON.
        before: The row's values before, JSON; None for an inserted row.
        after: The row's values after, JSON; None for a deleted row.
    """

    correction_id: str
    domain: str
    partition_date: date
    at: datetime
    run_id: str
    cause: str
    new_files: int
    gone_files: int
    record_difference: int
    gold_table: str
    change: str
    key: str
    before: str | None
    after: str | None


SCHEMA = schema_of(Correction)


def correction_id(domain: str, day: date, last_done: datetime) -> str:
    """Return the id of the reprocess that follows the success at `last_done`."""
    text = f"{domain}/{day.isoformat()}/{last_done.isoformat()}"
    return hashlib.sha256(text.encode()).hexdigest()[:16]


@dataclass(frozen=True)
class RowChange:
    """One row's difference: its change, its key, and its values before and after as JSON."""

    change: str
    key: str
    before: str | None
    after: str | None


def difference(before: pa.Table, after: pa.Table, keys: Sequence[str]) -> list[RowChange]:
    """Compare two states of one date of a Gold table, by key.

    Args:
        before: The rows before; columns that only one side has count as NULL on the other.
        after: The rows after.
        keys: The merge keys, unique on each side.
    """
    old, new = _by_key(before, keys), _by_key(after, keys)
    changes = []
    for key in sorted(old.keys() | new.keys()):
        was, now = old.get(key), new.get(key)
        if was is None or now is None:
            changes.append(RowChange("inserted" if was is None else "deleted", key, _json(was), _json(now)))
        elif names := [name for name in {**was, **now} if not _same(was.get(name), now.get(name))]:
            before_and_after = (_json({name: row.get(name) for name in names}) for row in (was, now))
            changes.append(RowChange("updated", key, *before_and_after))
    return changes or [RowChange("none", "{}", None, None)]


def _same(before: Any, after: Any) -> bool:
    return bool(before == after or (before != before and after != after))  # NaN differs from itself


def _by_key(table: pa.Table, keys: Sequence[str]) -> dict[str, dict[str, Any]]:
    rows = table.to_pylist()
    return {str(_json({name: row.pop(name) for name in keys})): row for row in rows}


def _json(values: Mapping[str, Any] | None) -> str | None:
    if values is None:
        return None
    return json.dumps(values, default=lambda v: str(v) if isinstance(v, Decimal) else v.isoformat())


class CorrectionLedger:
    """Reads and writes the ledger's Delta table.

    Args:
        lake: Where it lies.
    """

    def __init__(self, lake: Lake) -> None:
        self._table = ContendedTable(lake, lake.corrections, SCHEMA)

    def record(self, corrections: Sequence[Correction]) -> None:
        """Store the lines of one reprocess; those that an earlier attempt left are replaced.

        Raises:
            TransientError: the table could not be written.
        """
        if not corrections:
            return
        data = pa.Table.from_pylist([asdict(line) for line in corrections], schema=SCHEMA)
        try:
            predicate = f"correction_id = '{corrections[0].correction_id}'"
            write_deltalake(self._table.open_or_create(), data, mode="overwrite", predicate=predicate)
        except Exception as error:  # delta-rs raises several unrelated classes for a lost race or an absent store
            raise TransientError(
                f"The correction of `{corrections[0].domain}` {corrections[0].partition_date} could not be written to"
                f" `{self._table.uri}`: {error}. The date is tried again.",
            ) from error

    def read(self, domain: str | None = None, day: date | None = None, newest: int | None = None) -> list[Correction]:
        """Return the ledger's lines, oldest first.

        Args:
            newest: Only those of so many reprocesses, the last ones; no other line is read whole.
        """
        chosen: list[tuple[str, str, Any]] = [("domain", "=", domain), ("partition_date", "=", day)]
        if newest is not None:
            ids = self._newest(newest, chosen)
            if not ids:
                return []
            chosen.append(("correction_id", "in", ids))
        lines = [Correction(**row) for row in self._table.rows(*chosen)]
        return sorted(lines, key=lambda c: (c.at, c.domain, c.partition_date, c.gold_table, c.key))

    def _newest(self, number: int, chosen: Sequence[tuple[str, str, Any]]) -> list[str]:
        names = [name for name, _, _ in chosen]
        ids = self._table.read(*chosen, columns=[*names, "correction_id", "at"])
        latest = ids.group_by("correction_id").aggregate([("at", "max")]).sort_by([("at_max", "descending")])
        newest: list[str] = latest.slice(0, number)["correction_id"].to_pylist()
        return newest
