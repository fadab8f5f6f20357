"""The sources at their real cadence, each until it is stopped.

Wiring of connection, source, interval and outage belongs here; what one round does belongs to the module of the
source's kind.
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
from platform_core.domain.catalog import Domain
from platform_core.domain.source import Clickstream, PostgresCdc, PostgresIncrement, PostgresSnapshot
from platform_core.errors import ConfigurationError, TransientError
from platform_core.settings import Settings
from platform_kafka.alerts import AlertTopic
from producers.clickstream.crowd import SETTLE_EVERY_SECONDS, ClickstreamSender, Crowd
from producers.clickstream.shop_view import ShopView
from producers.delivery import Delivery, Receipt
from producers.postgres.cdc import CdcPoller
from producers.postgres.database import connect, transient
from producers.postgres.increment import Increment
from producers.postgres.snapshot import Snapshot
from producers.postgres.snapshot_memory import SnapshotRefusedError
from producers.postgres.watermark_alarm import WatermarkAlarm
from producers.running import Stop, run_every
from producers.source_probe import SourceProbe
from producers.watermark import FileWatermark

log = logging.getLogger(__name__)

CHECK_SECONDS = 5.0

Source = TypeVar("Source")


class Session(Generic[Source]):
    """A source on its connection; dropped after an outage and made again when it is next needed.

    Args:
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
                f"The source database lacks something that `{self._application}` reads:"
                f" {str(error).strip().splitlines()[0]}. Mend the domain's `source` in domains.yaml; of the simulated"
                " shop, `python -m simulation shop-init` adds what is missing and changes no row.",
                application=self._application,
            ) from error

    def drop(self) -> None:
        """Close the connection and forget the source."""
        if self._connection is not None:
            with suppress(psycopg2.Error):
                self._connection.close()
        self._connection = self._source = None


def run_source(
    settings: Settings, domain: Domain, stop: Stop, *, once: bool = False, accept_loss: bool = False
) -> Receipt:
    """Send a domain's source, as its kind says, until stopped.

    Args:
        domain: A domain that has a source.
        stop: When to end.
        once: One poll, increment or snapshot, then end.
        accept_loss: Whether a snapshot that lacks most of the last one is meant.

    Raises:
        ConfigurationError: the source has no such option, or the domain no source.
        PermanentError: the source or the cluster refuses for good.
        TransientError: with `once`, a service did not answer.
    """
    source = domain.source
    if accept_loss and not (once and isinstance(source, PostgresSnapshot)):
        raise ConfigurationError("`--accept-loss` is for one snapshot: use it with `--once`.", domain=domain.name)
    if isinstance(source, PostgresCdc):
        return _run_cdc(settings, domain, source, stop, once=once)
    if isinstance(source, PostgresIncrement):
        return _run_increment(settings, domain, stop, once=once)
    if isinstance(source, PostgresSnapshot):
        return _run_snapshot(settings, domain, stop, once=once, accept_loss=accept_loss)
    if isinstance(source, Clickstream) and not once:
        return _run_clickstream(settings, domain, stop)
    raise ConfigurationError(f"The source of domain `{domain.name}` cannot be sent once.", domain=domain.name)


def _run_cdc(settings: Settings, domain: Domain, source: PostgresCdc, stop: Stop, *, once: bool) -> Receipt:
    """Poll every `source.interval_seconds`, by default every `CDC_POLL_INTERVAL_SECONDS`."""
    probe = SourceProbe(domain.name, source.interval_seconds or settings.cdc_poll_interval_seconds)
    delivery = Delivery.connect(settings, domain, metrics=probe.metrics)
    watermark, alarm = FileWatermark(settings.state_dir, domain.name), _alarm(settings, domain)

    def act(poller: CdcPoller) -> Receipt:
        receipt = poller.poll()
        alarm.check(poller.reader)
        probe.polled(poller.reader, held=alarm.is_on)
        return receipt

    session = Session(settings, _application(domain), lambda connection: CdcPoller(connection, delivery, watermark))
    return _run(settings, probe, session, delivery, act, stop, once=once)


def _run_increment(settings: Settings, domain: Domain, stop: Stop, *, once: bool) -> Receipt:
    """Take the increment at its time each day, and at once if the last one was missed."""
    probe, clock = SourceProbe(domain.name, CHECK_SECONDS), SystemClock()
    delivery = Delivery.connect(settings, domain, metrics=probe.metrics)
    watermark, alarm = FileWatermark(settings.state_dir, domain.name), _alarm(settings, domain)

    def act(increment: Increment) -> Receipt:
        now = clock.now()
        if not once and not increment.due(now):
            return Receipt()
        receipt = increment.extract(now)
        alarm.check(increment.reader)
        probe.polled(increment.reader, held=alarm.is_on)
        return receipt

    session = Session(settings, _application(domain), lambda connection: Increment(connection, delivery, watermark))
    return _run(settings, probe, session, delivery, act, stop, once=once)


def _run_snapshot(settings: Settings, domain: Domain, stop: Stop, *, once: bool, accept_loss: bool) -> Receipt:
    """Take a snapshot as its hours begin, and at once if the present one is missing.

    A snapshot that lacks most of the last one is refused, and the next one is taken as ever; with `once` the refusal
    is raised, and with `accept_loss` there is none.
    """
    probe, clock = SourceProbe(domain.name, CHECK_SECONDS), SystemClock()
    delivery = Delivery.connect(settings, domain, metrics=probe.metrics)
    watermark = FileWatermark(settings.state_dir, domain.name)

    def act(snapshot: Snapshot) -> Receipt:
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

    session = Session(settings, _application(domain), lambda connection: Snapshot(connection, delivery, watermark))
    return _run(settings, probe, session, delivery, act, stop, once=once)


def _run_clickstream(settings: Settings, domain: Domain, stop: Stop) -> Receipt:
    """Send the visits of `CLICKSTREAM_VIRTUAL_USERS` at `CLICKSTREAM_EVENTS_PER_SECOND`."""
    probe = SourceProbe(domain.name, SETTLE_EVERY_SECONDS)
    sender = ClickstreamSender(Delivery.connect(settings, domain, metrics=probe.metrics))
    clock, draw = SystemClock(), random.Random()

    def make(connection: Connection) -> Crowd:
        return Crowd(
            ShopView(connection),
            virtual_users=settings.clickstream_virtual_users,
            events_per_second=settings.clickstream_events_per_second,
            draw=draw,
            now=clock.now(),
        )

    session = Session(settings, _application(domain), make)

    def act(crowd: Crowd) -> None:
        for event in crowd.events(clock.now()):
            sender.send(event)
        sender.settle()

    with probe.endpoint(settings):
        run_every(SETTLE_EVERY_SECONDS, probe.watched(lambda: session.use(act)), stop, session.drop)
    sender.settle()
    session.drop()
    log.info("source_stopped domain=%s delivered=%d", domain.name, sender.receipt.total)
    return sender.receipt


def _application(domain: Domain) -> str:
    return f"pdp-{domain.command}"


def _alarm(settings: Settings, domain: Domain) -> WatermarkAlarm:
    return WatermarkAlarm(domain.name, settings.cdc_watermark_alarm_seconds, AlertTopic(settings).send)


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
