"""The GraphQL calls to the running webserver that several end-to-end tests need."""

from __future__ import annotations

import json
import time
import urllib.request
from typing import Any

REPOSITORY_SELECTOR = {"repositoryName": "__repository__", "repositoryLocationName": "platform"}
_NO_PROXY = urllib.request.build_opener(urllib.request.ProxyHandler({}))


def query(ui: str, text: str, **variables: Any) -> dict[str, Any]:
    """Send a query and return its data."""
    body = json.dumps({"query": text, "variables": variables}).encode()
    request = urllib.request.Request(f"{ui}/graphql", body, {"Content-Type": "application/json"})
    with _NO_PROXY.open(request, timeout=60) as answer:
        result = json.load(answer)
    assert "errors" not in result, result
    data: dict[str, Any] = result["data"]
    return data


def switch_sensor(ui: str, name: str, *, on: bool) -> None:
    """Turn a sensor on or off, as its switch in the UI does."""
    selector = {**REPOSITORY_SELECTOR, "sensorName": name}
    if on:
        query(ui, "mutation($s: SensorSelector!) { startSensor(sensorSelector: $s) { __typename } }", s=selector)
        return
    found = query(
        ui,
        "query($s: SensorSelector!) { sensorOrError(sensorSelector: $s) { ... on Sensor { id sensorState { id } } } }",
        s=selector,
    )["sensorOrError"]
    stopped = query(ui, "mutation($id: String!) { stopSensor(id: $id) { __typename } }", id=found["id"])
    assert stopped["stopSensor"]["__typename"] == "StopSensorMutationResult", stopped


def runs(ui: str, limit: int = 50, **run_filter: Any) -> list[dict[str, Any]]:
    """Return the newest runs: runId, status, tags."""
    text = """query($f: RunsFilter, $n: Int) {
      runsOrError(filter: $f, limit: $n) { ... on Runs { results { runId status jobName tags { key value } } } }
    }"""
    found: list[dict[str, Any]] = query(ui, text, f=run_filter, n=limit)["runsOrError"]["results"]
    return found


def backfills(ui: str) -> list[dict[str, Any]]:
    """Return the newest backfills: id, status, number of partitions."""
    text = """{ partitionBackfillsOrError(limit: 10) {
      ... on PartitionBackfills { results { id status numPartitions partitionNames } } } }"""
    found: list[dict[str, Any]] = query(ui, text)["partitionBackfillsOrError"]["results"]
    return found


def wait_for(what: str, seconds: float, condition: Any, *, pause: float = 0.5) -> Any:
    """Return the first true value of a condition, which is asked for after each pause."""
    deadline = time.monotonic() + seconds
    while not (value := condition()):
        assert time.monotonic() < deadline, f"{what} did not happen within {seconds:.0f} s"
        time.sleep(pause)
    return value
