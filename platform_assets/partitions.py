"""The daily partition of every domain asset: UTC dates from the domain's start to today.

Only the partition scheme lives here; which date is due belongs to discovery.
"""

from __future__ import annotations

import dagster as dg

from platform_core.domain.catalog import Domain


def daily(domain: Domain) -> dg.DailyPartitionsDefinition:
    """Return the domain's daily partitions; today's is there, so that its growing Bronze can be seen."""
    return dg.DailyPartitionsDefinition(
        start_date=domain.start_date.isoformat(), timezone="UTC", end_offset=1, fmt="%Y-%m-%d"
    )
