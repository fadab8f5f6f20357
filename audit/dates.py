"""When an audit can look: at which dates, in which of their states, and what it means that nothing answers.

A date counts when any layer or partition_meta knows it; what is compared belongs to the stages. The states are those
of docs/architecture.md.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Collection, Iterator
from datetime import date
from typing import Any, TypeVar

import pyarrow as pa
from deltalake import DeltaTable
from deltalake.exceptions import DeltaError

from platform_core.domain.catalog import Domain
from platform_core.errors import PlatformError, TransientError
from platform_core.lake.duckdb_memory import late_duckdb
from platform_core.lake.lake import Lake
from platform_core.lake.lake_errors import in_one_line, is_of_the_lake
from platform_core.partitions.date_range import EVERY_DATE, DateRange
from platform_core.partitions.partition_meta import Partition, PartitionMetaReader
from platform_core.partitions.partition_state import State

T = TypeVar("T")

_QUOTED = re.compile(r"""'[^']*'|"[^"]*\"""")

COMPARABLE = frozenset({State.DONE, State.LATE})
"""States in which the row's file list is what Silver was made of; REPROCESSING has the next run's list already."""

LOOKS = 3
"""How often a date is read again that changed its state meanwhile; a run takes minutes, a look seconds."""


ASKED_FOR = 31
"""Dates of a range that are asked for one by one: each is a request or two, a history of years is thousands of rows."""


def unavailable() -> tuple[type[Exception], ...]:
    """Return what a look raises when a store does not answer, or holds what cannot be compared: it is not checked."""
    return (PlatformError, DeltaError, OSError, pa.ArrowException, late_duckdb().Error, ValueError, ArithmeticError)


def without_values(error: Exception) -> str:
    """Return the first line of an engine's error without the values that it quotes."""
    return _QUOTED.sub("'…'", (str(error).strip() or type(error).__name__).split("\n", 1)[0])


def why(error: Exception) -> str:
    """Return what a person needs to know of an error of `unavailable`."""
    if isinstance(error, PlatformError):
        return error.message
    if is_of_the_lake(error):
        text = _QUOTED.sub("'…'", in_one_line(error))
        return f"The lake did not answer: {text}. Check `LAKE_URI` and the variables `S3_*`, then run the audit again."
    return (
        f"The data could not be compared ({type(error).__name__}: {without_values(error)}); this is no outage, and the"
        " same data will meet it again. The stage `bronze` names files that are damaged or not the sink's; `pdp trace`"
        " shows a record."
    )


def dates_of(
    lake: Lake,
    domain: Domain,
    partitions: PartitionMetaReader,
    more: Collection[date] = (),
    within: DateRange = EVERY_DATE,
) -> list[date]:
    """Return every date of a range that Bronze, Silver, Gold or partition_meta know, sorted.

    Args:
        lake: The lake.
        domain: The domain.
        partitions: The partition states.
        more: Dates that another layer knows.
        within: The range; in a short one each date is asked for, and no layer lists its history.

    Raises:
        TransientError: the store did not answer.
    """
    asked = within.days(ASKED_FOR)
    if asked is not None:
        return [day for day in asked if day in more or _is_known(lake, domain, partitions, day)]
    days = {*more, *lake.list_dates(domain), *(row.partition_date for row in partitions.rows(domain.name))}
    for table in _tables(lake, domain):
        listed: list[dict[str, Any]] = table.partitions()
        days.update(date.fromisoformat(str(each[domain.partition_key])) for each in listed)
    return sorted(day for day in days if day in within)


def _is_known(lake: Lake, domain: Domain, partitions: PartitionMetaReader, day: date) -> bool:
    if lake.list_folder(domain, day)[0] or partitions.get(domain.name, day) is not None:
        return True
    of_day = [(domain.partition_key, "=", day.isoformat())]
    return any(table.file_uris(file_pruning_predicate=of_day) for table in _tables(lake, domain))


def _tables(lake: Lake, domain: Domain) -> Iterator[DeltaTable]:
    names = [lake.silver(domain), lake.quarantine(domain), *(lake.gold(domain, table) for table in domain.gold.tables)]
    yield from (table for name in names if (table := lake.delta_or_none(name)) is not None)


def while_unchanged(
    partitions: PartitionMetaReader, domain: Domain, day: date, look: Callable[[Partition | None], T]
) -> T:
    """Return what a look finds during which the partition's row stayed as it was.

    Raises:
        TransientError: it changed during each of three looks.
    """
    row = partitions.get(domain.name, day)
    for _ in range(LOOKS):
        found = look(row)
        now = partitions.get(domain.name, day)
        if _version(now) == _version(row):
            return found
        row = now
    raise TransientError(
        f"Partition `{domain.name}` {day} changed its state during each of {LOOKS} looks. Run the audit again when its"
        " run has ended."
    )


def _version(row: Partition | None) -> tuple[object, ...]:
    if row is None:
        return (None,)
    # While it is IN_FLIGHT a run renews its lease by `updated_at`, every few seconds.
    return row.status, row.run_id, row.file_hash, None if row.status is State.IN_FLIGHT else row.updated_at
