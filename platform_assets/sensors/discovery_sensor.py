"""The sensor `discover_<domain>`: it finds new and late Bronze and launches what is due.

One tick, which the schedule runs too, belongs to `discovery_tick`.
"""

import time
from collections.abc import Callable
from dataclasses import replace
from threading import BoundedSemaphore
from typing import TYPE_CHECKING

import dagster as dg

from platform_assets.jobs import job_name
from platform_assets.resources.metadata_store import MetadataStore
from platform_assets.sensors.discovery_tick import Tick, tick
from platform_core.domain.catalog import Domain
from platform_core.errors import TransientError
from platform_core.partitions.listing import DiscoveryCursor
from platform_core.settings import Settings

if TYPE_CHECKING:
    from platform_kafka.announcements import Announcements


WAIT_AT_MOST_SECONDS = 15.0
"""Dagster gives a sensor 60 s for its answer."""

SLOW_LOOK_SECONDS = 15.0
"""Two looks that take longer, and the wait between them, might come to those 60 s: then nothing of the tick is kept."""

WAITING_AT_ONCE = 3
"""Who waits holds a thread of the daemon, which has 8 for its sensors, and of the code server: 6 on two cores, for the
launch of runs and for the health check, too."""

_waiting = BoundedSemaphore(WAITING_AT_ONCE)

MARGIN_SECONDS = 0.2
"""A file whose time is the store's has its age by a clock that is asked again."""


def discovery_sensor(domain: Domain, settings: Settings) -> dg.SensorDefinition:
    """Return the domain's sensor."""
    ledger: list[Announcements] = []  # it keeps its connection to Kafka between ticks

    @dg.sensor(
        name=f"discover_{domain.name}",
        job_name=job_name(domain),
        minimum_interval_seconds=settings.discovery_interval_seconds,
        default_status=dg.DefaultSensorStatus.RUNNING,
        description="Compares Bronze with partition_meta; launches PENDING, LATE and RETRYING dates.",
    )
    def discover(context: dg.SensorEvaluationContext, metadata_store: MetadataStore) -> dg.SensorResult:
        ledger[:] = ledger or [_announcements(settings)]
        before = DiscoveryCursor.from_json(context.cursor)

        def look(cursor: DiscoveryCursor) -> Tick:
            return tick(domain, metadata_store, context.instance, cursor, settings, ledger[0])

        done = once_quiet(look, before, min(settings.discovery_interval_seconds, WAIT_AT_MOST_SECONDS))
        context.log.info(f"{domain.name}: {done.summary}")
        return dg.SensorResult(
            run_requests=done.run_requests,
            asset_events=done.bronze,
            cursor=(done.cursor or before).to_json(),
        )

    return discover


def once_quiet(
    look: Callable[[DiscoveryCursor], Tick],
    before: DiscoveryCursor,
    longest: float,
    sleep: Callable[[float], None] = time.sleep,
    seconds: Callable[[], float] = time.monotonic,
) -> Tick:
    """Look, and once more when a date will have settled before the sensor's next tick.

    Ticks that only looked each 15 s found a late file, which rests for 10 s, 18 s after it came and not 11. A slow look
    is not repeated, nor one beside which others wait already: the next tick finds the date.

    Args:
        look: One tick from a cursor.
        before: The first one's.
        longest: Seconds that are waited for a date at most; a date that settles later is the next tick's.
    """
    began = seconds()
    first = look(before)
    if first.cursor is None or first.run_requests or first.quiet_in is None or first.quiet_in > longest:
        return first
    if seconds() - began > SLOW_LOOK_SECONDS or not _waiting.acquire(blocking=False):
        return first
    try:
        sleep(first.quiet_in + MARGIN_SECONDS)
    finally:
        _waiting.release()
    try:
        second = look(first.cursor)
    except TransientError:  # what the first one has stored must not be lost; the next tick meets it too
        return first
    return replace(second, bronze=[*first.bronze, *second.bronze], cursor=second.cursor or first.cursor)


def _announcements(settings: Settings) -> "Announcements":
    # Imported late: the Kafka client takes 0.1 s, and not every process of the orchestrator ticks.
    from platform_kafka.announcements import Announcements

    return Announcements(settings)
