"""The sources at their real cadence, each until it is stopped.

Wiring of connection, source, interval and outage belongs here; what one round does belongs to the source's module.
After an outage of Postgres or Kafka a source is built anew from its saved watermark.
"""

from __future__ import annotations

import logging
import random
from collections.abc import Callable
from contextlib import suppress
from typing import Generic, TypeVar

import psycopg2
import psycopg2.errors
from psycopg2.extensions import connection as Connection

from platform_core.clock import SystemClock
from platform_core.domain.catalog import Catalog
from platform_core.errors import ConfigurationError, TransientError
from platform_core.settings import Settings
from platform_kafka.alerts import AlertTopic
from producers.clickstream import SETTLE_EVERY_SECONDS, ClickstreamSender, Crowd
from producers.database import connect, transient
from producers.delivery import Delivery, Receipt
from producers.orders import OrdersPoller
from producers.restaurants import RestaurantsSnapshot
from producers.running import Stop, run_every
from producers.shop_view import ShopView
from producers.snapshot_memory import SnapshotRefusedError
from producers.source_probe import SourceProbe
from producers.users import UsersIncrement
from producers.watermark import FileWatermark
from producers.watermark_alarm import WatermarkAlarm

log = logging.getLogger(__name__)

CHECK_SECONDS = 5.0

Source = TypeVar("Source")


class Session(Generic[Source]):
    """A source on its connection; dropped after an outage and made again when it is next needed.

    Args:
        settings: The process's settings.
        application: Name that the server shows.
        make: Builds the source on a connection.
    """

    def __init__(self, settings: Settings, application: str, make: Callable[[Connection], Source]) -> None:
        self._settings = settings
        self._application = application
        self._make = make
        self._connection: Connection | None = None
        self._source: Source | None = None

    def use(self, act: Callable[[Source], object]) -> object:
        """Call `act` with the source.

        Raises:
            TransientError: the database went away.
        """
        try:
            if self._source is None:
                self._connection = connect(self._settings, application=self._application)
                self._source = self._make(self._connection)
            return act(self._source)
        except (psycopg2.OperationalError, psycopg2.InterfaceError) as error:
            raise transient(error, f"`{self._application}` read it") from error
        except (psycopg2.errors.UndefinedTable, psycopg2.errors.UndefinedColumn) as error:
            raise ConfigurationError(
                f"The shop's database lacks something that `{self._application}` reads:"
                f" {str(error).strip().splitlines()[0]}. Run `python -m simulation shop-init`, which adds what is"
                " missing and changes no row.",
                application=self._application,
            ) from error

    def drop(self) -> None:
        """Close the connection and forget the source."""
        if self._connection is not None:
            with suppress(psycopg2.Error):
                self._connection.close()
        self._connection = self._source = None


def run_orders(settings: Settings, catalog: Catalog, stop: Stop, *, once: bool = False) -> Receipt:
    """Poll orders every `CDC_POLL_INTERVAL_SECONDS`."""
    probe = SourceProbe("orders", settings.cdc_poll_interval_seconds)
    delivery = Delivery.connect(settings, catalog["orders"], metrics=probe.metrics)
    watermark = FileWatermark(settings.state_dir, "orders")
    alarm = _alarm(settings, "orders")
    session = Session(settings, "pdp-orders", lambda connection: OrdersPoller(connection, delivery, watermark))

    def act(poller: OrdersPoller) -> Receipt:
        receipt = poller.poll()
        alarm.check(poller.reader)
        probe.polled(poller.reader, held=alarm.is_on)
        return receipt

    return _run(settings, probe, session, delivery, act, stop, once=once)


def run_restaurants(
    settings: Settings, catalog: Catalog, stop: Stop, *, once: bool = False, accept_loss: bool = False
) -> Receipt:
    """Take a snapshot as each hour begins, and at once if this hour's is missing.

    A snapshot that lacks most of the last one is refused, and the next hour's is taken as ever; with `once` the
    refusal is raised, and with `accept_loss` there is none.
    """
    probe, clock = SourceProbe("restaurants", CHECK_SECONDS), SystemClock()
    delivery = Delivery.connect(settings, catalog["restaurants"], metrics=probe.metrics)
    watermark = FileWatermark(settings.state_dir, "restaurants")
    session = Session(
        settings, "pdp-restaurants", lambda connection: RestaurantsSnapshot(connection, delivery, watermark)
    )

    def act(snapshot: RestaurantsSnapshot) -> Receipt:
        now = clock.now()
        if not once and not snapshot.due(now):
            return Receipt()
        try:
            receipt = snapshot.take(now, accept_loss=accept_loss)
        except SnapshotRefusedError as error:
            probe.warn(error.message)
            log.error("snapshot_refused %s", error)
            if once:
                raise
            return Receipt()
        probe.warn("")
        return receipt

    return _run(settings, probe, session, delivery, act, stop, once=once)


def run_users(settings: Settings, catalog: Catalog, stop: Stop, *, once: bool = False) -> Receipt:
    """Take the increment at 23:55 UTC each day, and at once if the last one was missed."""
    probe, clock = SourceProbe("users", CHECK_SECONDS), SystemClock()
    delivery = Delivery.connect(settings, catalog["users"], metrics=probe.metrics)
    watermark = FileWatermark(settings.state_dir, "users")
    alarm = _alarm(settings, "users")
    session = Session(settings, "pdp-users", lambda connection: UsersIncrement(connection, delivery, watermark))

    def act(increment: UsersIncrement) -> Receipt:
        now = clock.now()
        if not once and not increment.due(now):
            return Receipt()
        receipt = increment.extract(now)
        alarm.check(increment.reader)
        probe.polled(increment.reader, held=alarm.is_on)
        return receipt

    return _run(settings, probe, session, delivery, act, stop, once=once)


def run_clickstream(settings: Settings, catalog: Catalog, stop: Stop, *, seed: int | None = None) -> Receipt:
    """Send the visits of `CLICKSTREAM_VIRTUAL_USERS` at `CLICKSTREAM_EVENTS_PER_SECOND`."""
    probe = SourceProbe("events", SETTLE_EVERY_SECONDS)
    sender = ClickstreamSender(Delivery.connect(settings, catalog["events"], metrics=probe.metrics))
    clock, draw = SystemClock(), random.Random(seed)

    def make(connection: Connection) -> Crowd:
        return Crowd(
            ShopView(connection),
            virtual_users=settings.clickstream_virtual_users,
            events_per_second=settings.clickstream_events_per_second,
            draw=draw,
            now=clock.now(),
        )

    session = Session(settings, "pdp-clickstream", make)

    def act(crowd: Crowd) -> None:
        for event in crowd.events(clock.now()):
            sender.send(event)
        sender.settle()

    with probe.endpoint(settings):
        run_every(SETTLE_EVERY_SECONDS, probe.watched(lambda: session.use(act)), stop, session.drop)
    sender.settle()
    session.drop()
    log.info("source_stopped source=clickstream delivered=%d", sender.receipt.total)
    return sender.receipt


def _alarm(settings: Settings, source: str) -> WatermarkAlarm:
    return WatermarkAlarm(source, settings.cdc_watermark_alarm_seconds, AlertTopic(settings).publish)


def _run(
    settings: Settings,
    probe: SourceProbe,
    session: Session[Source],
    delivery: Delivery,
    act: Callable[[Source], Receipt],
    stop: Stop,
    *,
    once: bool,
) -> Receipt:
    total = Receipt()
    name = delivery.domain.name

    def round_() -> None:
        def counted(source: Source) -> None:
            receipt = act(source)
            total.add(receipt)
            if receipt.total or receipt.refused:
                log.info("delivered domain=%s records=%d refused=%d", name, receipt.total, receipt.refused)

        session.use(counted)

    def recover() -> None:
        delivery.abandon()
        session.drop()

    try:
        if once:
            round_()
        else:
            with probe.endpoint(settings):
                run_every(probe.interval_seconds, probe.watched(round_), stop, recover)
    except TransientError:
        delivery.abandon()
        raise
    finally:
        session.drop()
    log.info("source_stopped domain=%s delivered=%d refused=%d", name, total.total, total.refused)
    return total
