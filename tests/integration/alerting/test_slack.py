"""Slack's webhook, against a local HTTP server that answers as it is told."""

from __future__ import annotations

import json
import logging
import threading
import time
from collections.abc import Iterator
from datetime import UTC, date, datetime
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import pytest
from pydantic import SecretStr

from alerting import channels
from alerting.channels import SlackChannel, configured
from alerting.dispatch import dispatch
from platform_core.errors import PermanentError, TransientError
from platform_core.lake.alert_log import AlertLog
from platform_core.lake.alerts import Alert, AlertKind
from platform_core.lake.lake import Lake
from platform_core.settings import Settings

SECRET = "T0SECRET/B0SECRET/xyzSECRET"
ALERT = Alert(
    key="dead:orders:2026-11-20:x",
    kind=AlertKind.DEAD,
    domain="orders",
    partition_date=date(2026, 11, 20),
    what="`orders` is DEAD: a < b & c",
    where="orders, 2026-11-20, run 1, http://ui.test/runs/1",
    command="pdp partitions revive orders 2026-11-20",
    at=datetime(2026, 11, 21, tzinfo=UTC),
)


class Slack:
    """Records what is posted; answers the statuses given, then 200."""

    def __init__(self) -> None:
        self.bodies: list[Any] = []
        self.statuses: list[int] = []
        self.delay = 0.0
        slack = self

        class Handler(BaseHTTPRequestHandler):
            def do_POST(self) -> None:
                body = self.rfile.read(int(self.headers["Content-Length"]))
                slack.bodies.append((self.path, json.loads(body)))
                time.sleep(slack.delay)
                try:
                    self.send_response(slack.statuses.pop(0) if slack.statuses else 200)
                    self.end_headers()
                except BrokenPipeError:
                    return  # the client gave up

            def log_message(self, *_: object) -> None:
                return

        self.server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self.url = f"http://127.0.0.1:{self.server.server_port}/services/{SECRET}"

    def channel(self) -> SlackChannel:
        return SlackChannel(SecretStr(self.url), "http://ui.test")


@pytest.fixture
def slack() -> Iterator[Slack]:
    slack = Slack()
    thread = threading.Thread(target=slack.server.serve_forever, daemon=True)
    thread.start()
    yield slack
    slack.server.shutdown()
    slack.server.server_close()
    thread.join(5)


@pytest.fixture
def log(tmp_path: Path) -> AlertLog:
    return AlertLog(Lake(Settings(lake_uri=str(tmp_path / "lake"))))


def test_the_message_says_what_where_and_the_command(slack: Slack) -> None:
    slack.channel().send(ALERT)
    [(path, body)] = slack.bodies
    assert path == f"/services/{SECRET}"
    assert body["text"].splitlines() == [
        "*DEAD* orders 2026-11-20",
        "`orders` is DEAD: a &lt; b &amp; c",
        "orders, 2026-11-20, run 1, http://ui.test/runs/1",
        "```pdp partitions revive orders 2026-11-20```",
        "<http://ui.test|Open the UI>",
    ]


@pytest.mark.parametrize(
    ("status", "error"),
    [
        (500, TransientError),
        (429, TransientError),
        (302, TransientError),
        (403, PermanentError),
        (404, PermanentError),
    ],
)
def test_another_answer_than_200_is_no_delivery(slack: Slack, status: int, error: type[Exception]) -> None:
    slack.statuses = [status]
    with pytest.raises(error, match=f"HTTP {status}") as raised:
        slack.channel().send(ALERT)
    assert SECRET not in str(raised.value)


def test_a_500_and_a_timeout_leave_it_pending_and_the_next_tick_sends_it(
    slack: Slack, log: AlertLog, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(channels, "SLACK_SECONDS", 0.2)
    slack.statuses = [500]
    assert dispatch(log, [ALERT], [slack.channel()]).failed == 1
    slack.delay = 0.6
    assert dispatch(log, [ALERT], [slack.channel()]).failed == 1
    assert [a.key for a in log.pending("slack")] == [ALERT.key]
    slack.delay = 0.0
    assert dispatch(log, [ALERT], [slack.channel()]).sent == 1
    assert log.pending("slack") == []
    assert dispatch(log, [ALERT], [slack.channel()]).sent == 0
    assert len(slack.bodies) == 3


def test_the_url_is_in_no_log_and_no_error(slack: Slack, log: AlertLog, caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.DEBUG)
    slack.channel().send(ALERT)
    slack.statuses = [500, 403]
    for _ in range(2):
        dispatch(log, [ALERT], [slack.channel()])
    nobody = SlackChannel(SecretStr(f"http://127.0.0.1:1/services/{SECRET}"), "http://ui.test")
    dispatch(log, [ALERT], [nobody])
    with pytest.raises(TransientError, match="ConnectionError") as raised:
        nobody.send(ALERT)
    assert raised.value.__context__ is None
    assert "alert_not_sent channel=slack" in caplog.text
    assert "alert_refused channel=slack" in caplog.text
    assert SECRET not in caplog.text
    assert SECRET not in f"{nobody!r} {vars(nobody)} {raised.value!r}"


@pytest.mark.parametrize("url", [f"no-scheme/{SECRET}", f"http://[{SECRET}", f"http://.{SECRET}", f"ftp://x/{SECRET}"])
def test_a_malformed_url_is_not_told_either(log: AlertLog, caplog: pytest.LogCaptureFixture, url: str) -> None:
    caplog.set_level(logging.DEBUG)
    assert dispatch(log, [ALERT], [SlackChannel(SecretStr(url), "http://ui.test")]).failed == 1
    assert "SECRET" not in caplog.text


def test_slack_is_a_channel_only_when_it_is_configured() -> None:
    assert [c.name for c in configured(Settings())] == ["kafka"]
    assert [c.name for c in configured(Settings(slack_webhook_url="http://x/y"))] == ["kafka", "slack"]
