"""What a source meets at its topics, its database and its start: one alert an outage, and it goes on by itself."""

from __future__ import annotations

from pathlib import Path
from unittest.mock import MagicMock

import psycopg2
import psycopg2.errors
import pytest

from platform_core.domain.catalog import Catalog
from platform_core.errors import ConfigurationError, TransientError
from platform_core.lake.alerts import Alert, AlertKind
from producers import live
from producers.delivery import TopicUnusableError
from producers.outage_alert import ANY_SERVICE, OutageAlert
from producers.postgres.database import SourceDownError, SourceRefusesError
from producers.running import Stop
from tests.rigs.settings_of import settings_of

LONGEST_PAUSE_SECONDS = TopicUnusableError("x", "").outage.longest_pause_seconds


class Rounds:
    """A source that meets an outage while `refused` is true."""

    refused = True
    calls = 0

    def __init__(self, error: TransientError | None = None) -> None:
        self.error = error or TopicUnusableError("dlq-raw-users", "it does not exist")

    def __call__(self) -> None:
        self.calls += 1
        if self.refused:
            raise self.error


def test_one_alert_and_ever_fewer_rounds_while_a_topic_is_refused() -> None:
    sent: list[Alert] = []
    now, act = [0.0], Rounds()
    round_ = OutageAlert("users", sent.append, seconds=lambda: now[0]).guarded(act)
    for _ in range(3_600):
        with pytest.raises(TransientError, match="does not exist"):
            round_()
        now[0] += 1
    assert 3_600 / LONGEST_PAUSE_SECONDS <= act.calls <= 20
    [alert] = sent
    assert (alert.kind, alert.domain, alert.where) == (AlertKind.TOPIC_UNUSABLE, "users", "topic dlq-raw-users")
    act.refused = False
    now[0] += LONGEST_PAUSE_SECONDS
    round_()
    act.refused = True
    with pytest.raises(TransientError):
        round_()
    assert len(sent) == 2, "the next outage is another alert"


def test_an_alert_that_kafka_does_not_take_is_sent_at_the_next_refusal() -> None:
    answers: list[Exception | None] = [TransientError("away"), None, None]
    now, act = [0.0], Rounds()

    def send(_: Alert) -> None:
        if answer := answers.pop(0):
            raise answer

    round_ = OutageAlert("users", send, seconds=lambda: now[0]).guarded(act)
    for _ in range(3):
        with pytest.raises(TransientError):
            round_()
        now[0] += LONGEST_PAUSE_SECONDS
    assert len(answers) == 1


@pytest.mark.parametrize("name", ["users", "events"])
def test_a_source_that_starts_while_a_service_is_out_waits_for_it(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, catalog: Catalog, name: str
) -> None:
    answers = [TransientError("The registry does not answer."), ConfigurationError("The contract is not registered.")]
    monkeypatch.setattr(live, "connect", MagicMock())
    monkeypatch.setattr(live, "Crowd", MagicMock(return_value=MagicMock(events=lambda _: [{"event_id": "a"}])))
    monkeypatch.setattr("producers.live.Delivery.connect", MagicMock(side_effect=answers))
    monkeypatch.setattr(live, "CHECK_SECONDS", 0.01)
    monkeypatch.setattr(live, "DELIVER_EVERY_SECONDS", 0.01)
    with pytest.raises(ConfigurationError, match="not registered"):
        live.run_source(settings_of({"STATE_DIR": str(tmp_path)}), catalog[name], Stop())


@pytest.mark.parametrize(
    ("error", "silent_seconds"),
    [
        (SourceDownError("the database does not exist"), ANY_SERVICE.alert_after_seconds),
        (SourceDownError("relation does not exist", refuses=True), 0),
        (TransientError("a registry does not exist"), ANY_SERVICE.alert_after_seconds),
    ],
)
def test_a_service_that_is_away_is_one_alert_after_a_while_and_one_that_refuses_at_once(
    error: TransientError, silent_seconds: float
) -> None:
    sent: list[float] = []
    now, act = [0.0], Rounds(error)
    round_ = OutageAlert("orders", lambda alert: sent.append(now[0]), seconds=lambda: now[0]).guarded(act)
    for _ in range(3_600):
        with pytest.raises(TransientError, match="does not exist"):
            round_()
        now[0] += 1
    assert len(sent) == 1 and silent_seconds <= sent[0] <= silent_seconds + 15
    assert act.calls < 300
    act.refused = False
    now[0] += 15
    round_()


def test_a_table_that_is_renamed_while_its_producer_runs_is_an_outage_and_at_its_start_a_mistake(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(live, "connect", MagicMock())
    session = live.Session(settings_of({}), "pdp-orders", lambda _: "source")
    for error in (psycopg2.errors.UndefinedTable("relation"), psycopg2.errors.InsufficientPrivilege("denied")):
        refused = MagicMock(side_effect=error)
        with pytest.raises(SourceRefusesError):
            live.Session(settings_of({}), "pdp-orders", lambda _: "source").use(refused)
        session.use(lambda _: None)
        with pytest.raises(SourceDownError) as raised:
            session.use(refused)
        assert raised.value.outage.alert_after_seconds == 0
    with pytest.raises(SourceDownError) as raised:
        session.use(MagicMock(side_effect=psycopg2.OperationalError("gone")))
    assert raised.value.outage.alert_after_seconds == ANY_SERVICE.alert_after_seconds
