"""Plays days of the past through the real sources into Kafka, and leaves the live sources where the past ends.

The order of things belongs here: what happens in the shop, when it is polled, what is sent, which watermarks are
saved. The past itself comes from the other modules of this package, polling and sending from the live sources.
"""

from __future__ import annotations

import logging
import time
from collections.abc import Sequence
from contextlib import ExitStack
from dataclasses import dataclass, field
from datetime import date, datetime, timedelta
from typing import Any

from confluent_kafka import TopicPartition
from confluent_kafka.admin import AdminClient, OffsetSpec  # type: ignore[attr-defined]

from platform_core.domain.catalog import Catalog
from platform_core.domain.source import PostgresIncrement
from platform_core.errors import ConfigurationError, PermanentError
from platform_core.settings import Settings
from platform_kafka.clients import connect_admin, through_elections
from platform_kafka.formats.wire_format import header
from platform_kafka.registry import connect_registry
from producers.delivery import Receipt
from producers.postgres.database import connect
from producers.postgres.fence import Position
from producers.postgres.poller import TablePoller
from producers.postgres.snapshot import Snapshot
from producers.postgres.stamp import Stamp
from producers.watermark import state_of, watermark_of
from simulation.history.bulk import BulkDelivery
from simulation.history.clicks_day import make_clicks
from simulation.history.encoding import encode
from simulation.history.orders_day import make_orders, orders_for
from simulation.history.randomness import DAY_US
from simulation.history.shop_past import ShopDay, played_days, ticks
from simulation.history.virtual import MemoryWatermark, VirtualClock
from simulation.shop.seed import advance_serials, midnight, moment, seed_shop
from simulation.world import OPENING_DAY, SOURCES, World

log = logging.getLogger(__name__)

CLICKSTREAM, ORDERS, RESTAURANTS, USERS = SOURCES
POLL_SECONDS = 600
MINUTE_US = 60_000_000
HOUR_US = 60 * MINUTE_US


@dataclass(frozen=True)
class Plan:
    """What to replay.

    Attributes:
        days: Consecutive UTC days, the first one first.
        events_per_day: Unique clickstream events of each day.
        domains: Which domains are sent; the shop's past is written for all of them.
    """

    days: tuple[date, ...]
    events_per_day: int
    domains: tuple[str, ...] = SOURCES

    @classmethod
    def before(cls, end: date, days: int, events_per_day: int, domains: Sequence[str] = SOURCES) -> Plan:
        """Return the plan of the `days` days before `end`.

        Raises:
            ConfigurationError: the days, the rate or a domain make no sense.
        """
        if days < 1 or events_per_day < 0:
            raise ConfigurationError(f"A replay needs at least one day, and not {days} with {events_per_day} events.")
        if unknown := [name for name in domains if name not in SOURCES]:
            raise ConfigurationError(f"There is no source for `{unknown[0]}`; known are {', '.join(SOURCES)}.")
        first = end - timedelta(days=days)
        if first <= OPENING_DAY:
            raise ConfigurationError(
                f"The shop opened on {OPENING_DAY}; a replay begins later than that, not on {first}."
            )
        return cls(tuple(first + timedelta(days=n) for n in range(days)), events_per_day, tuple(domains))

    @property
    def end(self) -> date:
        """The first day that is not replayed."""
        return self.days[-1] + timedelta(days=1)

    @property
    def orders_per_day(self) -> int:
        """Orders placed on each day."""
        return orders_for(self.events_per_day)


@dataclass
class Tally:
    """What was sent of one domain.

    Attributes:
        receipt: Acknowledged and refused records.
        duplicates: Redelivered events among them.
        invalid: Events among them that break a rule of the domain.
        seconds: Wall time spent on this domain.
    """

    receipt: Receipt = field(default_factory=Receipt)
    duplicates: int = 0
    invalid: int = 0
    seconds: float = 0.0

    def to_json(self) -> dict[str, Any]:
        """Return the tally as JSON values."""
        return {
            "produced": self.receipt.total,
            "by_date": dict(sorted(self.receipt.delivered.items())),
            "refused": self.receipt.refused,
            "duplicates": self.duplicates,
            "invalid": self.invalid,
            "seconds": round(self.seconds, 2),
        }


def replay(settings: Settings, catalog: Catalog, world: World, plan: Plan) -> dict[str, Any]:
    """Replay the plan's days and return the summary.

    Raises:
        ConfigurationError: contracts are not registered, credentials are refused, the shop has another world, or a
            producer of a replayed source runs.
        PermanentError: a record was refused for good, or acknowledged records are missing from a topic.
        TransientError: a service went away; the same command may be run again.
    """
    with ExitStack() as locks:
        for name in set(plan.domains) - {CLICKSTREAM}:
            locks.enter_context(watermark_of(state_of(settings), name).locked())
        return _replay(settings, catalog, world, plan)


def _replay(settings: Settings, catalog: Catalog, world: World, plan: Plan) -> dict[str, Any]:
    started = time.monotonic()
    admin, registry = connect_admin(settings), connect_registry(settings)
    deliveries = {
        name: BulkDelivery.connect(settings, catalog[name], registry=registry, bulk=name == CLICKSTREAM)
        for name in plan.domains
    }
    topics = {name: delivery.domain.topic.name for name, delivery in deliveries.items()}
    before = {name: _end_offsets(admin, topic) for name, topic in topics.items()}
    tallies = {name: Tally() for name in plan.domains}
    shop = _ShopReplay(settings, world, plan, deliveries, tallies) if set(plan.domains) - {CLICKSTREAM} else None
    for day in plan.days:
        if shop is not None:
            shop.play(day)
        if CLICKSTREAM in deliveries:
            _send_clicks(world, day, plan, deliveries[CLICKSTREAM], tallies[CLICKSTREAM])
        produced = {name: tally.receipt.delivered[day.isoformat()] for name, tally in tallies.items()}
        log.info("day_replayed date=%s %s", day, " ".join(f"{name}={count}" for name, count in produced.items()))
    if shop is not None:
        shop.close()
    for name, tally in tallies.items():
        arrived = _end_offsets(admin, topics[name]) - before[name]
        if arrived < tally.receipt.total:
            raise PermanentError(
                f"Topic `{topics[name]}` grew by {arrived} records, but {tally.receipt.total} were acknowledged."
                " Check the broker's logs and disks before replaying again.",
            )
    return {
        "command": "replay",
        "seed": world.seed,
        "first_day": plan.days[0].isoformat(),
        "end": plan.end.isoformat(),
        "days": len(plan.days),
        "events_per_day": plan.events_per_day,
        "orders_per_day": plan.orders_per_day,
        "seconds": round(time.monotonic() - started, 2),
        "domains": {name: tally.to_json() for name, tally in tallies.items()},
    }


def _send_clicks(world: World, day: date, plan: Plan, delivery: BulkDelivery, tally: Tally) -> None:
    started = time.monotonic()
    clicks = make_clicks(world, make_orders(world, day, plan.orders_per_day), plan.events_per_day)
    for keys, values in encode(world, clicks, header(delivery.schema_id)):
        delivery.send_encoded(keys, values, day.isoformat())
    tally.receipt.add(delivery.deliver())
    tally.duplicates += clicks.duplicates
    tally.invalid += clicks.invalid
    tally.seconds += time.monotonic() - started


class _ShopReplay:
    """The shop's days: played into Postgres, polled by the live sources in virtual time."""

    def __init__(
        self,
        settings: Settings,
        world: World,
        plan: Plan,
        deliveries: dict[str, BulkDelivery],
        tallies: dict[str, Tally],
    ) -> None:
        self._world = world
        self._plan = plan
        self._tallies = tallies
        self._writer = connect(settings, application="pdp-replay-writer")
        self._reader = connect(settings, application="pdp-replay-reader")
        seed_shop(self._writer, world, before=plan.days[0])
        self._played = played_days(self._writer, plan.days, plan.orders_per_day)
        start = midnight(plan.days[0])
        self._clock = VirtualClock(start)
        self._users_clock = VirtualClock(start)
        self._orders: TablePoller | None = None
        self._restaurants: Snapshot | None = None
        self._users: TablePoller | None = None
        if ORDERS in deliveries:
            self._orders_file = watermark_of(state_of(settings), ORDERS)
            position = _start(Position.from_json(self._orders_file.load()), self._orders_file.load(), start)
            self._orders = TablePoller(
                self._reader, deliveries[ORDERS], MemoryWatermark(position.to_json()), clock=self._clock
            )
        if RESTAURANTS in deliveries:
            self._restaurants_file = watermark_of(state_of(settings), RESTAURANTS)
            self._snapshot = MemoryWatermark()
            self._restaurants = Snapshot(self._reader, deliveries[RESTAURANTS], self._snapshot)
        if USERS in deliveries:
            source = deliveries[USERS].domain.source
            assert isinstance(source, PostgresIncrement)
            self._increment_us = (source.at.hour * 60 + source.at.minute) * MINUTE_US
            self._users_file = watermark_of(state_of(settings), USERS)
            saved = self._users_file.load()
            position = _start(Position.from_json(saved), saved, start)
            self._users = TablePoller(
                self._reader,
                deliveries[USERS],
                MemoryWatermark({"position": position.to_json()}),
                clock=self._users_clock,
            )

    def play(self, day: date) -> None:
        before = day - timedelta(days=1)
        yesterday = make_orders(self._world, before, self._played.get(before, 0))
        today = make_orders(self._world, day, self._plan.orders_per_day)
        self._played[day] = len(today)
        shop_day = ShopDay(self._writer, self._world, today, yesterday)
        shop_day.begin()
        for start_us, end_us in ticks(POLL_SECONDS):
            if self._restaurants is not None and start_us % HOUR_US == 0:
                self._count(RESTAURANTS, self._restaurants.take, moment(day, start_us))
            shop_day.play(start_us, end_us)
            if self._orders is not None:
                self._clock.now = moment(day, end_us)
                self._count(ORDERS, self._orders.poll)
            if self._users is not None and 0 <= self._increment_us - end_us < POLL_SECONDS * 1_000_000:
                self._users_clock.now = moment(day, self._increment_us)
                self._count(USERS, self._users.poll, self._users_clock.now)
        self._save(day)

    def close(self) -> None:
        advance_serials(self._writer)
        self._writer.close()
        self._reader.close()

    def _count(self, name: str, act: Any, *args: Any) -> None:
        started = time.monotonic()
        tally = self._tallies[name]
        tally.receipt.add(act(*args))
        tally.seconds += time.monotonic() - started

    def _save(self, day: date) -> None:
        """Leave the live sources at the day's end, unless they are further already."""
        end = moment(day, DAY_US)
        if self._orders is not None:
            saved = Position.from_json(self._orders_file.load())
            if saved.low.time < end:
                self._orders_file.save(Position(low=Stamp.of(end)).to_json())
        if self._restaurants is not None:
            taken = moment(day, DAY_US - HOUR_US)
            if not _later((self._restaurants_file.load() or {}).get("snapshot_at"), taken):
                self._restaurants_file.save({**(self._snapshot.load() or {}), "snapshot_at": taken.isoformat()})
        if self._users is not None:
            taken = moment(day, self._increment_us)
            if not _later((self._users_file.load() or {}).get("extracted_at"), taken):
                position = Position(low=Stamp.of(taken))
                self._users_file.save({"extracted_at": taken.isoformat(), "position": position.to_json()})


def _start(position: Position, saved: dict[str, Any] | None, start: datetime) -> Position:
    """Begin with the past, or where the source stopped before it."""
    if saved is None or position.low.time >= start:
        return Position(low=Stamp.of(start))
    return Position(low=position.low, low_key=position.low_key)


def _later(saved: str | None, than: datetime) -> bool:
    return saved is not None and datetime.fromisoformat(saved) >= than


def _end_offsets(admin: AdminClient, topic: str) -> int:
    partitions = admin.list_topics(topic, timeout=10.0).topics[topic].partitions
    latest: Any = OffsetSpec.latest()  # type: ignore[no-untyped-call]
    request = {TopicPartition(topic, number): latest for number in partitions}

    def ask() -> int:
        found = admin.list_offsets(request, request_timeout=30.0).values()
        return sum(future.result().offset for future in found)

    return through_elections(ask, 30.0)
