"""The endpoint of a real producer process: what it sent, and whether it lives."""

from __future__ import annotations

import json
import time
from collections.abc import Callable
from http.client import HTTPConnection
from typing import Any

from prometheus_client.parser import text_string_to_metric_families

from infra.embedded.processes.ports import free_ports


def get(port: int, path: str) -> tuple[int, str]:
    connection = HTTPConnection("127.0.0.1", port, timeout=10)
    try:
        connection.request("GET", path)
        response = connection.getresponse()
        return response.status, response.read().decode()
    finally:
        connection.close()


def wait(ready: Callable[[], bool], process: Any) -> None:
    deadline = time.monotonic() + 60
    while True:
        assert process.poll() is None, process.communicate()[1]
        try:
            if ready():
                return
        except OSError:
            pass
        assert time.monotonic() < deadline
        time.sleep(0.1)


def test_a_producer_tells_what_it_sent_and_that_it_lives(provisioned: Any) -> None:
    provisioned.run("shop-init", "--users", "30", "--restaurants", "4", "--menu-items", "3", "--cities", "2")
    (port,) = free_ports(1)
    process = provisioned.command("users", METRICS_PORT=str(port))
    try:

        def metrics() -> dict[str, float]:
            families = text_string_to_metric_families(get(port, "/metrics")[1])
            return {s.name: s.value for family in families for s in family.samples if s.labels == {"domain": "users"}}

        wait(lambda: metrics().get("pdp_producer_last_success_timestamp_seconds", 0) > 0, process)
        found = metrics()
        status, text = get(port, "/healthz")
    finally:
        process.terminate()
        process.communicate(timeout=30)
    assert found["pdp_producer_records_total"] == 30 == len(provisioned.records("users"))
    topic = provisioned.catalog["users"].topic.name
    assert found["pdp_producer_bytes_total"] == sum(len(m.value()) for m in provisioned.messages(topic))
    assert found["pdp_producer_delivery_failures_total"] == 0
    assert "pdp_cdc_watermark_age_seconds" in found
    assert (status, json.loads(text)["status"]) == (200, "ok")
    assert process.returncode == 0
