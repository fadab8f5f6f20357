"""Keys that Silver has on several dates, of a domain whose key is unique within a date only: counted, no problem.

Such rows are as many events as they have dates (docs/architecture.md). What a domain with a global key does with them
belongs to `audit.stages.bronze_to_silver`.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from datetime import date

from audit.duckdb_tables import names, one
from audit.report import Reason, Stage, StageResult
from audit.stages.source_to_silver import is_dated
from platform_core.domain.catalog import Domain
from platform_core.lake.delta_rows import rows_of
from platform_core.lake.duckdb_memory import database
from platform_core.lake.lake import Lake


def count_repeated_keys(lake: Lake, domain: Domain, days: Sequence[date]) -> Iterator[StageResult]:
    """Yield how many keys Silver has on more than one of the dates; nothing if there are none.

    A domain whose records are dated by their extraction has every key on many dates, and is not looked at.
    """
    if len(days) < 2 or domain.silver.global_key or not is_dated(domain):
        return
    table = lake.delta_or_none(lake.silver(domain))
    if table is None:
        return
    keys, day = names(domain.silver.primary_key), f'"{domain.partition_key}"'
    of_days = ((domain.partition_key, ">=", min(days)), (domain.partition_key, "<=", max(days)))
    with database() as connection:
        connection.register("silver", rows_of(lake, table, *of_days))
        [repeated] = one(
            connection,
            # By a number a key: of millions of keys it is a third of the memory.
            f"select count(*) from (select 1 from silver where {day} between date '{min(days)}' and"
            f" date '{max(days)}' group by hash({keys}) having min({day}) < max({day}))",
        )
    if repeated:
        yield StageResult(Stage.SILVER, domain.name, uncounted={Reason.ON_SEVERAL_DATES: repeated})
