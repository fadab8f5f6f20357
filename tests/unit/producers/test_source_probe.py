"""The health of a live source: what makes it failing, degraded and ok again."""

from __future__ import annotations

import json
from types import SimpleNamespace
from typing import Any
from urllib.request import urlopen

import pytest

from infra.embedded.processes.ports import free_ports
from platform_core.errors import ConfigurationError, TransientError
from platform_core.settings import Settings
from producers.source_probe import SHORTEST_OUTAGE_SECONDS, SourceProbe


class Seconds:
    now = 100.0

    def __call__(self) -> float:
        return self.now


def reader(age: float, held: float, polls: int) -> Any:
    return SimpleNamespace(watermark_age_seconds=age, held_seconds=held, position=SimpleNamespace(polls=[0] * polls))


def sample(probe: SourceProbe, name: str, **labels: str) -> float | None:
    return probe.metrics.registry.get_sample_value(name, {"domain": "orders", **labels})


def outage() -> None:
    raise TransientError("Postgres does not answer.")


def test_three_intervals_without_a_round_are_an_outage_and_the_next_round_ends_it() -> None:
    seconds = Seconds()
    probe = SourceProbe("orders", 30.0, seconds=seconds)
    with pytest.raises(TransientError):
        probe.watched(outage)()
    seconds.now += 90.0
    assert (probe.judge().status, sample(probe, "pdp_producer_last_success_timestamp_seconds")) == ("ok", 0)
    seconds.now += 0.1
    assert probe.judge().status == "failing"
    assert "`orders` succeeded for 90 s. The last error: Postgres does not answer." in probe.judge().reason
    probe.watched(lambda: None)()
    assert (probe.judge().status, probe.judge().facts["seconds_since_success"]) == ("ok", 0.0)
    assert (sample(probe, "pdp_producer_last_success_timestamp_seconds") or 0) > 1_700_000_000


def test_a_long_backlog_is_no_outage_while_stretches_of_it_are_acknowledged() -> None:
    seconds = Seconds()
    probe = SourceProbe("orders", 30.0, seconds=seconds)
    for _ in range(5):
        seconds.now += 80.0
        assert probe.judge().ok
        probe.metrics.delivered(20_000, 4_000_000, {"too_large": 1})
    assert sample(probe, "pdp_producer_records_total") == 100_000
    assert sample(probe, "pdp_producer_bytes_total") == 20_000_000
    assert sample(probe, "pdp_producer_refused_total", reason="too_large") == 5


def test_a_short_interval_has_a_limit_that_a_broker_restart_does_not_reach() -> None:
    seconds = Seconds()
    probe = SourceProbe("orders", 1.0, seconds=seconds)
    seconds.now += SHORTEST_OUTAGE_SECONDS
    assert probe.judge().ok
    seconds.now += 1
    assert not probe.judge().ok


def test_a_watermark_that_is_held_back_degrades_until_it_is_released() -> None:
    probe = SourceProbe("orders", 30.0)
    assert sample(probe, "pdp_cdc_held_polls") is None
    probe.polled(reader(age=420, held=400, polls=14), held=True)
    assert (probe.judge().ok, probe.judge().status) == (True, "degraded")
    assert "400 s" in probe.judge().reason
    assert (sample(probe, "pdp_cdc_watermark_age_seconds"), sample(probe, "pdp_cdc_held_polls")) == (420, 14)
    probe.polled(reader(age=0, held=0, polls=0), held=False)
    assert (probe.judge().status, sample(probe, "pdp_cdc_held_polls")) == ("ok", 0)


def test_the_endpoint_is_there_while_the_source_runs_and_only_where_a_port_is_set() -> None:
    probe = SourceProbe("orders", 30.0)
    with probe.endpoint(Settings()):
        pass
    (port,) = free_ports(1)
    settings = Settings(metrics_port=port)
    with probe.endpoint(settings):
        with urlopen(f"http://127.0.0.1:{port}/healthz", timeout=10) as response:
            assert json.load(response)["facts"]["domain"] == "orders"
        with pytest.raises(ConfigurationError, match="METRICS_PORT"), probe.endpoint(settings):
            pass
    with pytest.raises(OSError, match="refused"):
        urlopen(f"http://127.0.0.1:{port}/healthz", timeout=10)
