"""The metrics and health endpoint, over a real socket of the loopback address."""

from __future__ import annotations

import http.client
import io
import json
import socket
from typing import Any

import pytest
from prometheus_client import CollectorRegistry, Counter
from prometheus_client.parser import text_string_to_metric_families

from platform_core.errors import ConfigurationError, PermanentError, TransientError
from platform_core.probe_server import Health, ProbeServer
from tests.rigs.settings_of import settings_of


def ask(server: ProbeServer, method: str, path: str, body: bytes | None = None) -> tuple[int, str]:
    connection = http.client.HTTPConnection("127.0.0.1", server.port, timeout=10)
    try:
        connection.request(method, path, body=body)
        response = connection.getresponse()
        return response.status, response.read().decode()
    finally:
        connection.close()


def flushes() -> dict[str, Any]:
    return {"rows": 3, "drained": True}


def forbidden() -> dict[str, Any]:
    raise PermanentError("The sink stops.")


def unfinished() -> dict[str, Any]:
    raise TransientError("The store does not answer.")


def broken() -> dict[str, Any]:
    raise OSError("s3://key:hunter2@lake")


ACTIONS = {"flush": flushes, "forbidden": forbidden, "unfinished": unfinished, "broken": broken}


def test_metrics_are_what_prometheus_reads() -> None:
    registry = CollectorRegistry()
    Counter("pdp_things", "Things.", ["domain"], registry=registry).labels("orders").inc(7)
    with ProbeServer(0, registry, lambda: Health(True)) as server:
        status, text = ask(server, "GET", "/metrics?name[]=pdp_things_total")
    samples = {s.name: s for family in text_string_to_metric_families(text) for s in family.samples}
    assert status == 200
    assert (samples["pdp_things_total"].value, samples["pdp_things_total"].labels) == (7, {"domain": "orders"})


@pytest.mark.parametrize(
    ("health", "status", "word"),
    [
        (Health(True), 200, "ok"),
        (Health(True, "The watermark is held.", {"held_polls": 4}), 200, "degraded"),
        (Health(False, "Nothing was delivered for 90 s."), 503, "failing"),
    ],
)
def test_health_is_the_status_and_its_reason(health: Health, status: int, word: str) -> None:
    with ProbeServer(0, CollectorRegistry(), lambda: health) as server:
        found, text = ask(server, "GET", "/healthz")
    assert found == status
    assert json.loads(text) == {"status": word, "reason": health.reason, "facts": dict(health.facts)}


@pytest.mark.parametrize(
    ("path", "status", "answer"),
    [
        ("/flush", 200, {"rows": 3, "drained": True}),
        ("/forbidden", 409, {"error": "The sink stops."}),
        ("/unfinished", 504, {"error": "The store does not answer."}),
        ("/broken", 500, {"error": "`POST /broken` failed with `OSError`; the log has the cause."}),
    ],
)
def test_an_action_answers_or_says_why_not(path: str, status: int, answer: dict[str, Any]) -> None:
    with ProbeServer(0, CollectorRegistry(), lambda: Health(True), actions=ACTIONS) as server:
        found, text = ask(server, "POST", path, b"ignored")
        again, _ = ask(server, "GET", "/healthz")
    assert (found, json.loads(text)) == (status, answer)
    assert again == 200


@pytest.mark.parametrize(
    ("token", "address", "headers", "status"),
    [
        ("t", "127.0.0.1", {}, 401),
        ("t", "127.0.0.1", {"HTTP_AUTHORIZATION": "Bearer other"}, 401),
        ("t", "172.20.2.9", {"HTTP_AUTHORIZATION": "Bearer t"}, 200),
        (None, "172.20.2.9", {}, 401),
        (None, "127.0.0.1", {"HTTP_ORIGIN": "http://evil.example"}, 401),
        (None, "127.0.0.1", {}, 200),
    ],
    ids=["without", "another", "right", "other host", "web page", "same host"],
)
def test_an_action_is_for_who_has_the_token(token: str | None, address: str, headers: Any, status: int) -> None:
    done: list[str] = []
    actions = {"flush": lambda: {"done": done.append("flushed")}}
    registry, health = CollectorRegistry(), lambda: Health(True)
    with ProbeServer(0, registry, health, actions=actions, token=token) as server:
        application = server._server.get_app()
        environ = {"REMOTE_ADDR": address, "wsgi.input": io.BytesIO(), **headers}
        found = []
        for request in ("POST /flush", "GET /healthz", "GET /metrics"):
            method, path = request.split()
            asked = {"REQUEST_METHOD": method, "PATH_INFO": path, **environ}
            assert application(asked, lambda said, _headers: found.append(said[:3]))  # type: ignore[arg-type, func-returns-value]
    assert found == [str(status), "200", "200"]
    assert done == (["flushed"] if status == 200 else [])


def test_the_token_of_a_process_is_that_of_its_settings() -> None:
    configured = settings_of({"METRICS_PORT": 0, "SINK_FLUSH_TOKEN": "t0ken"})
    with ProbeServer.of(configured, CollectorRegistry(), lambda: Health(True), ACTIONS) as server:
        assert isinstance(server, ProbeServer)
        status, text = ask(server, "POST", "/flush")
    assert status == 401
    assert "`SINK_FLUSH_TOKEN` must be the same for both" in text and "t0ken" not in text


@pytest.mark.parametrize(("method", "path"), [("GET", "/"), ("GET", "/flush"), ("POST", "/metrics"), ("POST", "/x")])
def test_another_path_is_answered_with_those_that_there_are(method: str, path: str) -> None:
    with ProbeServer(0, CollectorRegistry(), lambda: Health(True), actions={"flush": flushes}) as server:
        status, text = ask(server, method, path)
    assert status == 404
    assert "GET /metrics, GET /healthz, POST /flush" in json.loads(text)["error"]


def test_a_health_that_fails_is_not_healthy() -> None:
    def health() -> Health:
        raise RuntimeError("hunter2")

    with ProbeServer(0, CollectorRegistry(), health) as server:
        status, text = ask(server, "GET", "/healthz")
    assert status == 500
    assert "hunter2" not in text


def test_a_port_in_use_names_the_variable() -> None:
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        port = taken.getsockname()[1]
        with pytest.raises(ConfigurationError, match=f"{port}.*METRICS_PORT"):
            ProbeServer(port, CollectorRegistry(), lambda: Health(True))


def test_a_closed_server_frees_its_port_at_once() -> None:
    server = ProbeServer(0, CollectorRegistry(), lambda: Health(True))
    server.close()
    server.close()
    with ProbeServer(server.port, CollectorRegistry(), lambda: Health(True)) as again:
        assert ask(again, "GET", "/healthz")[0] == 200
