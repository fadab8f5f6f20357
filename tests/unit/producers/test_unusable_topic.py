"""What a source meets at its topics and at its start: one alert an outage, and it goes on by itself."""

from __future__ import annotations

from pathlib import Path
from unittest.mock import MagicMock

import pytest

from platform_core.domain.catalog import Catalog
from platform_core.errors import ConfigurationError, TransientError
from platform_core.lake.alerts import Alert, AlertKind
from producers import live
from producers.delivery import TopicUnusableError
from producers.running import Stop
from producers.unusable_topic import LONGEST_PAUSE_SECONDS, UnusableTopic
from tests.rigs.settings_of import settings_of


class Rounds:
    """A source whose topic is refused while `refused` is true."""

    refused = True
    calls = 0

    def __call__(self) -> None:
        self.calls += 1
        if self.refused:
            raise TopicUnusableError("dlq-raw-users", "it does not exist")


def test_one_alert_and_ever_fewer_rounds_while_a_topic_is_refused() -> None:
    sent: list[Alert] = []
    now, act = [0.0], Rounds()
    round_ = UnusableTopic("users", sent.append, seconds=lambda: now[0]).guarded(act)
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

    round_ = UnusableTopic("users", send, seconds=lambda: now[0]).guarded(act)
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
    monkeypatch.setattr(live, "SETTLE_EVERY_SECONDS", 0.01)
    with pytest.raises(ConfigurationError, match="not registered"):
        live.run_source(settings_of({"STATE_DIR": str(tmp_path)}), catalog[name], Stop())
