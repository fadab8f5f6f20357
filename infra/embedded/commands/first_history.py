"""The past that the first `make up` makes, and the end of its way into Bronze.

What is replayed belongs to `simulation.history`; when it is made, to `up`.
"""

from __future__ import annotations

import json
import time
from dataclasses import dataclass
from pathlib import Path

from infra.embedded.processes.workers import Workers
from infra.embedded.progress import Reporter
from pdp.actions.group_offsets import lags
from platform_core.domain.catalog import configured_catalog
from platform_core.errors import PlatformError
from platform_core.settings import Settings
from platform_kafka.access import SIMULATION
from platform_kafka.reader import OperatorKafka

WRITTEN_WITHIN_SECONDS = 30.0
"""The sink reads beside the replay; what it has not written by then, it writes when its interval is over."""


@dataclass(frozen=True)
class ShortHistory:
    """The past that the first start makes.

    Attributes:
        days: Dates before today.
        events_per_day: Clickstream events of each.
        seed: Seed of the shop and of its past.
    """

    days: int
    events_per_day: int
    seed: int


def make_history(workers: Workers, made: Path, past: ShortHistory, config: Settings, reporter: Reporter) -> None:
    """Give a new platform a past, so that the first look at the UI shows something; do nothing for an old one.

    Args:
        made: Where the summary of the replay is kept: by it, later starts know of the past.
        config: The platform's settings.
    """
    if made.exists():
        return
    reporter.line(f"First start: {past.days} days of history")
    workers.run("simulation", "shop-init", "--seed", str(past.seed), kafka_user=SIMULATION)
    summary = workers.run(
        "simulation",
        "replay",
        *("--days", str(past.days), "--events-per-day", str(past.events_per_day), "--seed", str(past.seed)),
        kafka_user=SIMULATION,
    )
    made.write_text(json.dumps(summary))
    try:
        _write_all(workers, config)
    except PlatformError as error:
        reporter.line(f"The sink writes the history when its interval is over: {error}")


def _write_all(workers: Workers, config: Settings) -> None:
    """Let the sink write what it has of the history: its last buffers of closed dates would wait for their age.

    Raises:
        PlatformError: Kafka or the sink does not answer.
    """
    topics = [domain.topic.name for domain in configured_catalog(config)]
    deadline = time.monotonic() + WRITTEN_WITHIN_SECONDS
    with OperatorKafka(config) as kafka:
        while time.monotonic() < deadline:
            workers.flush_sink()
            if not sum(each.lag for each in lags(kafka, topics)):
                return
            time.sleep(0.5)
