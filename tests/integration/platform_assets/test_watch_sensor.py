"""The watch: its checks run by Dagster, its sensor evaluated tick by tick over a real partition_meta."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from datetime import UTC, date, datetime, time, timedelta
from pathlib import Path
from typing import Any

import dagster as dg
import pytest
from dagster._core.definitions.run_request import InstigatorType
from dagster._core.remote_origin import InProcessCodeLocationOrigin, RemoteInstigatorOrigin, RemoteRepositoryOrigin
from dagster._core.scheduler.instigation import InstigatorState, InstigatorStatus, TickData, TickStatus
from dagster._core.types.loadable_target_origin import LoadableTargetOrigin
from dagster_shared.error import SerializableErrorInfo

from alerting.channels import Channel
from platform_assets.asset_checks.watch import watch_checks
from platform_assets.assets.external import bronze_spec
from platform_assets.jobs import job_name
from platform_assets.resources.metadata_store import MetadataStore
from platform_assets.sensors.failed_runs import failed_runs
from platform_assets.sensors.failing_ticks import failing_sensor_alerts
from platform_assets.sensors.watch import watch_sensor
from platform_core.domain.catalog import Catalog, load_catalog
from platform_core.errors import ServiceDownError, TransientError
from platform_core.lake.alert_log import AlertLog
from platform_core.lake.alerts import Alert, AlertKind
from platform_core.lake.lake import Lake
from platform_core.lake.mount import open_lake
from platform_core.partitions.partition_meta import Change
from platform_core.partitions.partition_meta_delta import DeltaPartitionMeta
from platform_core.partitions.partition_state import Event, State
from platform_core.settings import REPOSITORY, settings
from tests.rigs.fake_clock import FakeClock

TODAY = datetime.now(UTC).replace(hour=12, minute=0, second=0, microsecond=0)
"""Noon of a real day: Dagster stamps runs with the machine's clock."""

DEAD_DAY = TODAY.date() - timedelta(days=3)
YESTERDAY = TODAY.date() - timedelta(days=1)


class Recorder:
    """A channel in memory."""

    def __init__(self, name: str = "kafka") -> None:
        self.name = name
        self.taken: list[Alert] = []
        self.broken = False

    def send(self, alert: Alert) -> None:
        if self.broken:
            raise TransientError("down")
        self.taken.append(alert)

    @property
    def kinds(self) -> list[str]:
        return [alert.kind.value for alert in self.taken]


class Watch:
    """A catalog of one domain, its lake, and the sensor's ticks."""

    def __init__(self, instance: dg.DagsterInstance) -> None:
        orders = load_catalog(REPOSITORY / "domains" / "domains.yaml")["orders"]
        self.domain = orders.model_copy(update={"sla_deadline": time(6, 30), "start_date": date(2020, 1, 1)})
        self.catalog = Catalog([self.domain])
        self.clock = FakeClock(TODAY - timedelta(days=2))
        self.store = MetadataStore()
        self.partitions = DeltaPartitionMeta(self.store.lake(), self.clock)
        self.instance = instance
        self.channel = Recorder()
        self.slack = Recorder("slack")
        self.posted: list[Alert] = []
        self.kafka_is_away = False
        self.sensor = self.make_sensor()
        self.cursor: str | None = None

    def channels(self) -> list[Channel]:
        return [self.channel, self.slack]

    def make_sensor(self) -> dg.SensorDefinition:
        return watch_sensor(self.catalog, settings(), self.channels, self.clock, lambda _: self.read_posted)

    def read_posted(self, offsets: Mapping[int, int]) -> tuple[list[Alert], dict[int, int]]:
        if self.kafka_is_away:
            raise TransientError("no broker answers")
        return self.posted[offsets.get(0, 0) :], {0: len(self.posted)}

    def tick(self) -> list[Any]:
        with dg.build_sensor_context(
            instance=self.instance, cursor=self.cursor, resources={"metadata_store": self.store}
        ) as context:
            result = self.sensor(context)
        assert isinstance(result, dg.SensorResult)
        self.cursor = result.cursor
        return list(result.asset_events)

    def fail(self, day: date, error: str = "ValueError") -> None:
        name = self.domain.name
        self.partitions.apply(
            [
                Change(name, day, State.UNDISCOVERED, Event.FILES_FOUND),
                Change(name, day, State.PENDING, Event.RUN_STARTED, run_id="r1", set={"run_id": "r1"}),
                Change(
                    name,
                    day,
                    State.IN_FLIGHT,
                    Event.RUN_FAILED,
                    run_id="r1",
                    set={"error_message": f"{error}: broken"},
                    detail={"error": error},
                ),
            ]
        )

    def die(self, day: date) -> None:
        self.fail(day)
        self.partitions.apply([Change(self.domain.name, day, State.FAILED, Event.RETRIES_EXHAUSTED)])

    def done(self, day: date) -> None:
        name = self.domain.name
        self.partitions.apply(
            [
                Change(name, day, State.UNDISCOVERED, Event.FILES_FOUND),
                Change(name, day, State.PENDING, Event.RUN_STARTED, run_id="r1", set={"run_id": "r1"}),
                Change(
                    name,
                    day,
                    State.IN_FLIGHT,
                    Event.SUCCEEDED,
                    run_id="r1",
                    set={"processed_at": self.clock.now()},
                ),
            ]
        )


@pytest.fixture
def watch(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Watch]:
    monkeypatch.setenv("LAKE_URI", str(tmp_path / "lake"))
    monkeypatch.setenv("UI_URL", "http://ui.test")
    settings.cache_clear()
    with dg.DagsterInstance.ephemeral() as instance:
        yield Watch(instance)
    settings.cache_clear()


def outcomes(events: list[Any]) -> dict[str, bool]:
    return {event.check_name: event.passed for event in events}


def test_a_dead_date_and_a_missed_deadline_raise_one_alert_each(watch: Watch) -> None:
    watch.die(DEAD_DAY)
    watch.clock.advance(days=2)
    events = watch.tick()
    assert outcomes(events) == {"fresh": False, "no_dead_partition": False, "every_domain_runs": True}
    assert all(event.severity is dg.AssetCheckSeverity.ERROR for event in events)
    assert sorted(watch.channel.kinds) == ["DEAD", "SLA_MISSED"]
    watch.clock.advance(seconds=30)
    assert watch.tick() == []
    assert len(watch.channel.taken) == 2
    # A lost cursor, as after a reset of the sensor, repeats no alert either.
    watch.cursor = None
    watch.tick()
    assert len(watch.channel.taken) == 2


def test_a_broken_entry_and_a_removed_domain_are_red_or_an_alert_and_their_dates_stay(watch: Watch) -> None:
    watch.done(YESTERDAY)
    watch.catalog = Catalog([], {"orders": "no cron"})
    watch.sensor = watch_sensor(watch.catalog, settings(), watch.channels, watch.clock)
    assert outcomes(watch.tick()) == {"every_domain_runs": False}
    assert watch.channel.kinds == ["DOMAIN_BROKEN"] and "no cron" in watch.channel.taken[0].what
    watch.sensor = watch_sensor(Catalog([]), settings(), watch.channels, watch.clock)
    watch.tick()
    watch.tick()
    assert watch.channel.kinds == ["DOMAIN_BROKEN", "DOMAIN_REMOVED"]
    assert watch.channel.taken[1].command == "pdp domains" and len(watch.partitions.rows("orders")) == 1


def test_an_outcome_is_reported_when_it_changes_after_a_load_and_every_quarter_of_an_hour(watch: Watch) -> None:
    watch.die(DEAD_DAY)
    watch.clock.advance(days=2)
    watch.tick()
    watch.partitions.apply([Change("orders", DEAD_DAY, State.DEAD, Event.RESET)])
    watch.done(YESTERDAY)
    watch.clock.advance(seconds=30)
    assert outcomes(watch.tick()) == {"fresh": True, "no_dead_partition": True}
    watch.clock.advance(minutes=14)
    assert watch.tick() == []
    watch.clock.advance(minutes=1)
    assert outcomes(watch.tick()) == {"fresh": True, "no_dead_partition": True, "every_domain_runs": True}
    watch.done(DEAD_DAY - timedelta(days=1))
    watch.clock.advance(seconds=30)
    assert outcomes(watch.tick()) == {"fresh": True, "no_dead_partition": True}, "the UI asks for one after each load"


def test_a_channel_that_is_down_fails_no_tick_and_gets_its_alerts_later(watch: Watch) -> None:
    watch.die(DEAD_DAY)
    watch.channel.broken = True
    watch.tick()
    watch.channel.broken = False
    watch.clock.advance(seconds=30)
    watch.tick()
    watch.tick()
    assert watch.channel.kinds == ["DEAD"]
    [entry] = AlertLog(watch.store.lake()).read("orders")
    assert set(entry.channels) == {"kafka", "slack"}


def paused_topic(number: int) -> Alert:
    what, command = "Most of it was refused.", "pdp dlq peek orders"
    return Alert(
        f"topic_paused:raw-orders:{number}",
        AlertKind.TOPIC_PAUSED,
        "orders",
        None,
        what,
        "topic raw-orders",
        command,
        TODAY,
    )


def test_what_the_sink_posts_reaches_the_log_and_slack_once(watch: Watch) -> None:
    watch.posted = [paused_topic(1)]
    watch.tick()
    watch.tick()
    watch.posted.append(paused_topic(2))
    watch.kafka_is_away = True
    watch.die(DEAD_DAY)
    watch.tick()
    assert (watch.channel.kinds, watch.slack.kinds) == (["DEAD"], ["TOPIC_PAUSED", "DEAD"])
    watch.kafka_is_away = False
    watch.tick()
    watch.cursor = None
    watch.tick()
    assert watch.channel.kinds == ["DEAD"], "Kafka has what was posted there"
    assert watch.slack.kinds == ["TOPIC_PAUSED", "DEAD", "TOPIC_PAUSED"]
    logged = AlertLog(watch.store.lake()).read("orders")
    assert sorted(entry.alert.kind for entry in logged) == ["DEAD", "TOPIC_PAUSED", "TOPIC_PAUSED"]
    assert all(set(entry.channels) == {"kafka", "slack"} for entry in logged)


def broken_lake(watch: Watch, monkeypatch: pytest.MonkeyPatch, *, readable: bool) -> None:
    def refuse(*_: object, **__: object) -> None:
        raise OSError("Generic S3 error: connection refused")

    if readable:
        monkeypatch.setattr(AlertLog, "_merge", refuse)
    else:
        monkeypatch.setattr(Lake, "delta", refuse)


@pytest.mark.parametrize("readable", [False, True])
def test_a_lake_that_is_away_is_one_alert_on_every_channel_and_is_logged_when_it_is_back(
    watch: Watch, monkeypatch: pytest.MonkeyPatch, readable: bool
) -> None:
    watch.tick()
    with monkeypatch.context() as patch:
        broken_lake(watch, patch, readable=readable)
        if readable:
            watch.die(DEAD_DAY)
        for minutes in (0, 4, 1):
            watch.clock.advance(minutes=minutes)
            cursor = watch.cursor
            assert watch.tick() == [] and watch.cursor == cursor
            assert watch.channel.kinds == watch.slack.kinds == (["LAKE_DOWN"] if minutes == 1 else [])
        watch.slack.broken = True
        watch.posted.append(paused_topic(1))
        watch.tick()
        watch.slack.broken = False
        watch.tick()
        watch.tick()
        assert (watch.channel.kinds, watch.slack.kinds) == (["LAKE_DOWN"], ["LAKE_DOWN", "TOPIC_PAUSED"])
    what = watch.slack.taken[0].what
    assert "connection refused" in what and watch.store.lake().root in what
    if not readable:
        watch.die(DEAD_DAY)
    watch.posted.append(watch.slack.taken[0])  # as Kafka has it
    watch.tick()
    watch.tick()
    assert watch.channel.kinds == ["LAKE_DOWN", "DEAD"]
    assert watch.slack.kinds == ["LAKE_DOWN", "TOPIC_PAUSED", "DEAD"]
    logged = AlertLog(watch.store.lake()).read()
    assert sorted(entry.alert.kind for entry in logged) == ["DEAD", "LAKE_DOWN", "TOPIC_PAUSED"]
    assert all(set(entry.channels) == {"kafka", "slack"} for entry in logged)


def test_a_lake_that_is_not_mounted_is_down_and_nothing_is_written_into_it(watch: Watch) -> None:
    lake = watch.store.lake()
    open_lake(lake, lambda: False)
    watch.tick()
    Path(lake.root).rename(f"{lake.root}.unmounted")
    lake.prepare()
    for _ in range(7):
        watch.clock.advance(minutes=1)
        assert watch.tick() == []
    assert watch.channel.kinds == ["LAKE_DOWN"]
    assert "its disk is not mounted" in watch.channel.taken[0].what
    assert list(Path(lake.root).iterdir()) == []


def test_an_alert_whose_delivery_cannot_be_noted_is_not_sent_again(
    watch: Watch, monkeypatch: pytest.MonkeyPatch
) -> None:
    watch.slack.broken = True
    watch.die(DEAD_DAY)
    watch.tick()
    watch.slack.broken = False
    with monkeypatch.context() as patch:
        broken_lake(watch, patch, readable=True)
        for _ in range(3):
            watch.tick()
    watch.tick()
    assert (watch.channel.kinds, watch.slack.kinds) == (["DEAD"], ["DEAD"])
    [entry] = AlertLog(watch.store.lake()).read("orders")
    assert set(entry.channels) == {"kafka", "slack"}


def test_a_check_that_blocked_and_a_revived_date_are_seen_in_the_history(watch: Watch) -> None:
    watch.tick()
    watch.fail(YESTERDAY, "BlockingCheckFailedError")
    watch.die(DEAD_DAY)
    watch.partitions.apply([Change("orders", DEAD_DAY, State.DEAD, Event.RESET)])
    watch.clock.advance(seconds=30)
    watch.tick()
    assert sorted(watch.channel.kinds) == ["CHECK_FAILED", "DEAD"]


def run_of(
    watch: Watch, *, cancelled: bool = False, tags: Mapping[str, str], error: Exception | None = None
) -> dg.DagsterRun:
    @dg.op
    def broken() -> None:
        raise error or ValueError("broken") from ConnectionRefusedError("nobody listens")

    @dg.job(name=job_name(watch.domain))
    def job() -> None:
        broken()

    result = job.execute_in_process(instance=watch.instance, tags=tags, raise_on_error=False)
    if cancelled:
        # An ended run cannot be cancelled by its events any more; the storage is told directly.
        watch.instance.delete_run(result.run_id)
        run = dg.DagsterRun(job_name=job_name(watch.domain), status=dg.DagsterRunStatus.CANCELED, tags=tags)
        watch.instance.add_run(run)
        return run
    return result.dagster_run


def test_a_failed_run_raises_an_alert_with_its_dates_and_a_cancelled_one_is_not(watch: Watch) -> None:
    watch.clock = FakeClock(datetime.now(UTC) - timedelta(minutes=1))
    watch.sensor = watch.make_sensor()
    watch.tick()
    first, last = (
        {"dagster/asset_partition_range_start": "2026-11-01"},
        {"dagster/asset_partition_range_end": "2026-11-04"},
    )
    failed = run_of(watch, tags=first | last)
    run_of(watch, cancelled=True, tags={"dagster/partition": "2026-11-05"})
    watch.clock.advance(minutes=2)
    watch.tick()
    watch.tick()
    [alert] = watch.channel.taken
    assert (alert.key, alert.domain) == (f"run_failed:{failed.run_id}", "orders")
    assert "2026-11-01 to 2026-11-04" in alert.what and "ValueError: broken" in alert.what
    assert f"http://ui.test/runs/{failed.run_id}" in alert.where
    assert alert.command == "pdp partitions list orders --from 2026-11-01 --to 2026-11-04"


def test_the_runs_that_meet_an_outage_raise_one_alert_that_says_what_is_down(watch: Watch) -> None:
    watch.clock = FakeClock(datetime.now(UTC) - timedelta(minutes=1))
    watch.sensor = watch.make_sensor()
    watch.tick()
    for _ in range(3):
        run_of(watch, tags={"dagster/partition": "2026-11-05"}, error=ServiceDownError("The engine does not answer."))
    watch.clock.advance(minutes=2)
    watch.tick()
    [alert] = watch.channel.taken
    assert "The engine does not answer." in alert.what


def test_one_illegal_status_keeps_no_alert_of_others_back(watch: Watch) -> None:
    watch.die(DEAD_DAY)
    watch.done(YESTERDAY)
    table = watch.store.lake().delta(watch.store.lake().partition_meta)
    table.update({"status": "'done'"}, predicate=f"partition_date = '{YESTERDAY}'")
    watch.tick()
    assert sorted(watch.channel.kinds) == ["DEAD", "ILLEGAL_STATUS"]


@pytest.fixture
def watch_of_ticks(watch: Watch) -> Iterator[Watch]:
    """The same over an instance that keeps ticks."""
    with dg.instance_for_test() as instance:
        watch.instance = instance
        yield watch


def test_a_sensor_of_which_every_tick_fails_is_an_alert_once(watch_of_ticks: Watch) -> None:
    watch = watch_of_ticks
    location = InProcessCodeLocationOrigin(LoadableTargetOrigin(module_name="platform_assets.definitions"))
    state = InstigatorState(
        RemoteInstigatorOrigin(RemoteRepositoryOrigin(location, "pdp"), "discover_orders"),
        InstigatorType.SENSOR,
        InstigatorStatus.DECLARED_IN_CODE,
    )
    watch.instance.add_instigator_state(state)

    def ticked(minutes: float, status: TickStatus) -> None:
        error = SerializableErrorInfo("DagsterUnknownPartitionError: 1999-01-01\n", [], None)
        at = (watch.clock.now() - timedelta(minutes=minutes)).timestamp()
        tick = TickData(
            state.instigator_origin_id,
            "discover_orders",
            InstigatorType.SENSOR,
            status,
            at,
            run_ids=[],
            error=error if status is TickStatus.FAILURE else None,
            selector_id=state.selector_id,
        )
        watch.instance.create_tick(tick)

    ticked(8, TickStatus.SKIPPED)
    ticked(4, TickStatus.FAILURE)
    ticked(0.5, TickStatus.FAILURE)
    watch.tick()
    watch.clock.advance(seconds=30)
    ticked(0, TickStatus.FAILURE)
    watch.tick()
    [alert] = watch.channel.taken
    assert (alert.kind, "DagsterUnknownPartitionError" in alert.what) == (AlertKind.SENSOR_FAILING, True)
    assert "`discover_orders`" in alert.what
    ticked(0, TickStatus.SUCCESS)
    assert failing_sensor_alerts(watch.instance, watch.clock.now(), "http://ui.test") == []


def test_a_run_of_selected_assets_belongs_to_its_domain(watch: Watch) -> None:
    run = dg.DagsterRun(
        job_name="__ASSET_JOB",
        status=dg.DagsterRunStatus.FAILURE,
        asset_selection={dg.AssetKey(["silver", "orders"])},
        tags={"dagster/partition": "2026-11-05"},
    )
    watch.instance.add_run(run)
    [found] = failed_runs(watch.instance, watch.catalog, datetime.now(UTC) - timedelta(minutes=5))
    assert (found.run_id, found.domain, found.days) == (run.run_id, "orders", (date(2026, 11, 5),))
    assert failed_runs(watch.instance, watch.catalog, datetime.now(UTC) + timedelta(minutes=5)) == []


def test_the_checks_run_as_a_person_runs_them(watch: Watch) -> None:
    watch.die(DEAD_DAY)
    checks = watch_checks(watch.domain)
    warehouse = dg.AssetSpec(["snowflake", "orders"], partitions_def=bronze_spec(watch.domain).partitions_def)
    defs = dg.Definitions(
        assets=[warehouse],
        asset_checks=[checks],
        jobs=[dg.define_asset_job("look", dg.AssetSelection.checks(checks))],
        resources={"metadata_store": watch.store},
    )
    result = defs.resolve_job_def("look").execute_in_process(instance=watch.instance)
    assert result.success
    found = {e.check_name: (e.passed, e.blocking) for e in result.get_asset_check_evaluations()}
    assert found["no_dead_partition"] == (False, False)
    assert set(found) == {"fresh", "no_dead_partition"}
