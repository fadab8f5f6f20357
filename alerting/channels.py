"""The channels that carry an alert: a Kafka topic, and a Slack webhook when one is configured.

Add a channel here and to `configured`. A channel sends one alert and raises when it was not taken; when and how often
belongs to `dispatch`. Slack's format: https://docs.slack.dev/messaging/sending-messages-using-incoming-webhooks.
"""

from __future__ import annotations

import logging
from collections.abc import Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING, Protocol

from platform_core.errors import PermanentError, TransientError
from platform_core.lake.alerts import Alert
from platform_core.settings import Settings
from platform_kafka.alerts import AlertTopic

if TYPE_CHECKING:
    from pydantic import SecretStr

SLACK_SECONDS = 10.0
SLACK_TEXT = 2000
"""Characters of what happened; Slack cuts a message at 4,000 where people read it."""


class Channel(Protocol):
    """Carries an alert to where people look."""

    @property
    def name(self) -> str:
        """The name under which the log notes deliveries; it must not change."""
        ...

    def send(self, alert: Alert) -> None:
        """Send one alert and return when it was taken.

        Raises:
            TransientError: the channel does not answer; it may later.
            PermanentError: the channel answers, and does not take this alert.
        """
        ...


def configured(settings: Settings) -> list[Channel]:
    """Return the channels of a configuration: Kafka always, Slack with SLACK_WEBHOOK_URL."""
    channels: list[Channel] = [AlertTopic(settings)]
    if settings.slack_webhook_url is not None:
        channels.append(SlackChannel(settings.slack_webhook_url, settings.ui_url))
    return channels


class SlackChannel:
    """Posts to an incoming webhook.

    Args:
        webhook: Its URL, which is a secret: who has it can post.
        ui_url: Base URL of Dagster's UI.
    """

    name = "slack"

    def __init__(self, webhook: SecretStr, ui_url: str) -> None:
        self._webhook = webhook
        self._ui_url = ui_url

    def send(self, alert: Alert) -> None:
        """Post the alert as one message."""
        import requests

        body = {"text": slack_text(alert, self._ui_url)}
        problem = ""
        status = 0
        try:
            with _nothing_of_the_url_is_logged():
                response = requests.post(
                    self._webhook.get_secret_value(), json=body, timeout=SLACK_SECONDS, allow_redirects=False
                )
            status = response.status_code
        except Exception as error:  # a malformed URL raises others than RequestException
            problem = type(error).__name__  # its message has the URL
        # Raised outside of the `except`: not even the exception's context may carry the URL into a log.
        if status == requests.codes.ok:
            return
        what = f"Alert `{alert.key}` was not taken by the Slack webhook: {problem or f'HTTP {status}'}."
        if 400 <= status < 500 and status not in (requests.codes.too_many_requests, requests.codes.request_timeout):
            raise PermanentError(f"{what} Check SLACK_WEBHOOK_URL: Slack answers so for a revoked webhook.")
        raise TransientError(f"{what} It stays pending; the next tick tries again.")


def slack_text(alert: Alert, ui_url: str) -> str:
    """Return the alert as Slack's mrkdwn."""
    about = " ".join(str(part) for part in (alert.domain, alert.partition_date) if part is not None)
    what = alert.what if len(alert.what) <= SLACK_TEXT else alert.what[: SLACK_TEXT - 1] + "…"
    title = f"*{alert.kind.value.replace('_', ' ')}* {about}".rstrip()
    return (
        f"{title}\n{_escaped(what)}\n{_escaped(alert.where)}\n```{_escaped(alert.command)}```\n<{ui_url}|Open the UI>"
    )


def _escaped(text: str) -> str:
    return text.replace("&", "&amp;").replace("<", "&lt;").replace(">", "&gt;")


@contextmanager
def _nothing_of_the_url_is_logged() -> Iterator[None]:
    """Silence urllib3's log for one request: at DEBUG it prints the path, which is the secret."""
    logger = logging.getLogger("urllib3.connectionpool")

    def silent(_record: logging.LogRecord) -> bool:
        return False

    logger.addFilter(silent)
    try:
        yield
    finally:
        logger.removeFilter(silent)
