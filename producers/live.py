"""The sources at their real cadence, each until it is stopped.

Wiring of connection, source, interval and outage belongs here; what one round does belongs to the module of the
source's kind.
After an outage of Postgres, Kafka or the registry a source is built again from its saved watermark, also after one that
met its start.
"""

from __future__ import annotations

import logging
import random
from collections.abc import Callable
from contextlib import nullcontext, suppress
from functools import partial
from pathlib import Path
from typing import Generic, TypeVar

import psycopg2
import psycopg2.errors
from psycopg2.extensions import connection as Connection

from platform_core.clock import SystemClock
from platform_core.domain.catalog import Domain
from platform_core.domain.source import Clickstream, PostgresCdc, PostgresSnapshot, PostgresTable
from platform_core.errors import ConfigurationError, TransientError
from platform_core.settings import Settings
from platform_kafka.alerts import AlertTopic
from producers.clickstream.crowd import DELIVER_EVERY_SECONDS, ClickstreamSender, Crowd
from producers.clickstream.shop_view import ShopView
from producers.delivery import Delivery, Receipt
from producers.metrics import ProducerMetrics
from producers.outage_alert import OutageAlert
from producers.postgres.database import SourceDownError, SourceRefusesError, connect, transient
from producers.postgres.poller import TablePoller
from producers.postgres.snapshot import Snapshot
from producers.postgres.snapshot_memory import SnapshotRefusedError
from producers.postgres.watermark_alarm import WatermarkAlarm
from producers.running import Stop, run_every
from producers.source_probe import SourceProbe
from producers.watermark import state_of, watermark_of

log = logging.getLogger(__name__)

CHECK_SECONDS = 5.0

Capture = TypeVar("Capture")


class Session(Generic[Capture]):
    """A source on its connection; dropped after an outage and made again when it is next needed.

    Args:
        application: Name that the server shows.
        make: Builds the source on a connection.
    """

    def __init__(self, settings: Settings, application: str, make: Callable[[Connection], Capture]) -> None:
        self._settings = settings
        self._application = application
        self._make = make
        self._connection: Connection | None = None
        self._source: Capture | None = None
        self._has_answered = False

    def use(self, act: Callable[[Capture], object]) -> object:
        """Call `act` with the source.

        Raises:
            SourceRefusesError: the database refuses what it was never asked before.
            SourceDownError: it went away, or refuses what it has answered before: a table was renamed, a right taken.
        """
        try:
            answer = self._asked(act)
        except SourceRefusesError as error:
            if not self._has_answered:
                raise
            raise SourceDownError(error.message, refuses=True) from error
        self._has_answered = True
        return answer

    def _asked(self, act: Callable[[Capture], object]) -> object:
        try:
            if self._source is None:
                self._connection = connect(self._settings, application=self._application)
                self._source = self._make(self._connection)
            return act(self._source)
        except (psycopg2.OperationalError, psycopg2.InterfaceError) as error:
            raise transient(error, f"`{self._application}` read it") from error
        except (psycopg2.errors.UndefinedTable, psycopg2.errors.UndefinedColumn) as error:
            raise SourceRefusesError(
                f"The source database lacks something that `{self._application}` reads:"
                f" {str(error).strip().splitlines()[0]}. Mend the domain's `source` in domains.yaml; of the simulated"
                " shop, `python -m simulation shop-init` adds what is missing and changes no row.",
            ) from error
        except psycopg2.Error as error:
            raise SourceRefusesError(
                f"The source database refuses what `{self._application}` asks: {str(error).strip().splitlines()[0]}."
                " Mend the domain's `source` in domains.yaml, or what its user may do.",
            ) from error

    def drop(self) -> None:
        """Close the connection and forget the source."""
        if self._connection is not None:
            with suppress(psycopg2.Error):
                self._connection.close()
        self._connection = self._source = None


class Outlet:
    """A source's way into Kafka, connected when a round first needs it.

    A service that is out at the start is thus waited for, as it is later.
    """

    def __init__(self, settings: Settings, domain: Domain, metrics: ProducerMetrics) -> None:
        self._connect = partial(Delivery.connect, settings, domain, metrics=metrics)
        self._delivery: Delivery | None = None

    def delivery(self) -> Delivery:
        """Return the delivery.

        Raises:
            ConfigurationError: the contract is not registered, or the credentials are refused.
            TransientError: Kafka or the registry does not answer.
        """
        self._delivery = self._delivery or self._connect()
        return self._delivery

    def abandon(self) -> None:
        """Forget records that were taken and not delivered."""
        if self._delivery is not None:
            self._delivery.abandon()


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
        ConfigurationError: the source has no such option, the domain no source, or its producer runs already.
        PermanentError: the source or the cluster refuses for good.
        TransientError: with `once`, a service did not answer; the lake's store did not at the start, with
            `STATE_IN_LAKE`.
    """
    source = domain.source
    if accept_loss and not (once and isinstance(source, PostgresSnapshot)):
        raise ConfigurationError("`--accept-loss` is for one snapshot: use it with `--once`.")
    if isinstance(source, PostgresTable):
        return _run_table(settings, domain, stop, once=once, accept_loss=accept_loss)
    if isinstance(source, Clickstream) and not once:
        return _run_clickstream(settings, domain, stop)
    raise ConfigurationError(f"The source of domain `{domain.name}` cannot be sent once.")


def _run_table(settings: Settings, domain: Domain, stop: Stop, *, once: bool, accept_loss: bool) -> Receipt:
    """Poll a table at its interval, or take its increment or snapshot when it is due, and at once if one was missed.

    A snapshot that lacks most of the last one is refused, and the next one is taken as ever; with `once` the refusal
    is raised, and with `accept_loss` there is none.
    """
    source, interval_seconds = domain.source, CHECK_SECONDS
    if isinstance(source, PostgresCdc):
        interval_seconds = source.interval_seconds or settings.cdc_poll_interval_seconds
    probe, clock = SourceProbe(domain.name, interval_seconds), SystemClock()
    outlet = Outlet(settings, domain, probe.metrics)
    state = state_of(settings)
    if not isinstance(state, Path):
        state.store.check(writes=True)
    watermark = watermark_of(state, domain.name)
    alarm = WatermarkAlarm(domain.name, settings.cdc_watermark_alarm_seconds, AlertTopic(settings).send)
    outage = OutageAlert(domain.name, AlertTopic(settings).send)

    def make(connection: Connection) -> TablePoller | Snapshot:
        kind = Snapshot if isinstance(source, PostgresSnapshot) else TablePoller
        return kind(connection, outlet.delivery(), watermark)

    def read(table: TablePoller | Snapshot) -> Receipt:
        now = clock.now()
        if not once and not table.due(now):
            return Receipt()
        if isinstance(table, TablePoller):
            receipt = table.poll(now)
            alarm.check(table.reader)
            probe.polled(table.reader, held=alarm.is_on)
            return receipt
        try:
            receipt = table.take(now, accept_loss=accept_loss)
        except SnapshotRefusedError as error:
            probe.warn(error.message)
            log.error("snapshot_refused %s", error)
            if once:
                raise
            return Receipt()
        probe.warn("")
        return receipt

    def act(table: TablePoller | Snapshot) -> None:
        receipt = read(table)
        total.add(receipt)
        if receipt.total or receipt.refused:
            log.info("delivered domain=%s records=%d refused=%d", domain.name, receipt.total, receipt.refused)

    def recover() -> None:
        outlet.abandon()
        session.drop()

    total, session = Receipt(), Session(settings, f"pdp-{domain.command}", make)
    # A snapshot asks for the one before it each time, so a single one may be taken beside the live producer.
    beside = once and isinstance(source, PostgresSnapshot)
    try:
        with nullcontext() if beside else watermark.locked():
            if once:
                session.use(act)
            else:
                with probe.endpoint(settings):
                    round_ = outage.guarded(lambda: session.use(act))
                    run_every(interval_seconds, probe.watched(round_), stop, recover)
    except TransientError:
        outlet.abandon()
        raise
    finally:
        session.drop()
    log.info("source_stopped domain=%s delivered=%d refused=%d", domain.name, total.total, total.refused)
    return total


def _run_clickstream(settings: Settings, domain: Domain, stop: Stop) -> Receipt:
    """Send the visits of `CLICKSTREAM_VIRTUAL_USERS` at `CLICKSTREAM_EVENTS_PER_SECOND`."""
    probe = SourceProbe(domain.name, DELIVER_EVERY_SECONDS)
    outage = OutageAlert(domain.name, AlertTopic(settings).send)
    sender = ClickstreamSender(Outlet(settings, domain, probe.metrics).delivery)
    clock, draw = SystemClock(), random.Random()

    def make(connection: Connection) -> Crowd:
        return Crowd(
            ShopView(connection),
            virtual_users=settings.clickstream_virtual_users,
            events_per_second=settings.clickstream_events_per_second,
            draw=draw,
            now=clock.now(),
        )

    session = Session(settings, f"pdp-{domain.command}", make)

    def act(crowd: Crowd) -> None:
        for event in crowd.events(clock.now()):
            sender.send(event)
        sender.deliver()

    with probe.endpoint(settings):
        round_ = outage.guarded(lambda: session.use(act))
        run_every(DELIVER_EVERY_SECONDS, probe.watched(round_), stop, session.drop)
    sender.deliver()
    session.drop()
    log.info("source_stopped domain=%s delivered=%d", domain.name, sender.receipt.total)
    return sender.receipt
