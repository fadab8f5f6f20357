"""`pdp sink` against a small HTTP server, `pdp watermark` on files, and how light the command line starts."""

from __future__ import annotations

import subprocess
import sys
import threading
from collections.abc import Callable, Iterator
from datetime import UTC, datetime
from http.server import BaseHTTPRequestHandler, HTTPServer
from pathlib import Path
from typing import Any

import pytest
from prometheus_client import CollectorRegistry
from typer.testing import Result

from platform_core.errors import TransientError
from platform_core.probe_server import Health, ProbeServer
from platform_core.settings import REPOSITORY, settings
from producers.postgres.fence import Position
from producers.postgres.stamp import Stamp
from producers.watermark import FileWatermark

Run = Callable[..., Result]
Document = Callable[..., Any]


class Endpoint(HTTPServer):
    """Answers what a test has put there."""

    def __init__(self) -> None:
        self.answers: dict[tuple[str, str], tuple[int, bytes]] = {}
        super().__init__(("127.0.0.1", 0), _Handler)
        self.url = f"http://127.0.0.1:{self.server_port}"


class _Handler(BaseHTTPRequestHandler):
    server: Endpoint

    def _answer(self) -> None:
        status, body = self.server.answers.get((self.command, self.path), (404, b"try /healthz"))
        self.send_response(status)
        self.end_headers()
        self.wfile.write(body)

    do_GET = do_POST = _answer

    def log_message(self, *_: object) -> None:
        pass


@pytest.fixture
def endpoint(monkeypatch: pytest.MonkeyPatch) -> Iterator[Endpoint]:
    with Endpoint() as server:
        thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01})
        thread.start()
        monkeypatch.setenv("SINK_ENDPOINT_URL", server.url)
        settings.cache_clear()
        yield server
        server.shutdown()
        thread.join()


@pytest.fixture
def sink(monkeypatch: pytest.MonkeyPatch) -> Iterator[dict[str, Any]]:
    """The endpoint as the sink starts it; what it answers is what a test puts in."""
    answers: dict[str, Any] = {}

    def flush() -> dict[str, Any]:
        if isinstance(answers["flush"], Exception):
            raise answers["flush"]
        return dict(answers["flush"])

    registry, actions = CollectorRegistry(), {"flush": flush}
    with ProbeServer(0, registry, lambda: answers["health"], actions=actions, token="t0ken") as server:
        monkeypatch.setenv("SINK_ENDPOINT_URL", server.url)
        monkeypatch.setenv("SINK_FLUSH_TOKEN", "t0ken")
        settings.cache_clear()
        yield answers


def test_a_flush_says_what_was_written(sink: dict[str, Any], pdp: Run, pdp_json: Document) -> None:
    sink["flush"] = {"drained": True, "rows": 1234, "seconds": 0.42}
    assert "1,234 rows written and committed in 0.4 s" in pdp("sink", "flush").stdout
    assert pdp_json("sink", "flush", "--url", settings().sink_endpoint_url + "/")["rows"] == 1234
    for outcome, said in (
        ({"drained": False, "rows": 3, "seconds": 20.0}, "rows 3"),
        (TransientError("The store is out."), "error The store is out."),
    ):
        sink["flush"] = outcome
        left = pdp("sink", "flush")
        assert left.exit_code == 1 and "did not write everything" in left.stderr and said in left.stderr
    assert pdp_json("sink", "flush", code=1)["error"] == "The store is out."


def test_a_flush_without_the_sinks_token_names_the_variable(
    sink: dict[str, Any], pdp: Run, monkeypatch: pytest.MonkeyPatch
) -> None:
    sink["health"] = Health(True)
    monkeypatch.setenv("SINK_FLUSH_TOKEN", "another")
    settings.cache_clear()
    refused = pdp("sink", "flush")
    assert refused.exit_code == 2 and "Set `SINK_FLUSH_TOKEN` to the one of the sink" in refused.stderr
    assert "another" not in refused.output
    assert pdp("sink", "status").exit_code == 0


def test_a_status_is_the_sinks_own(sink: dict[str, Any], pdp: Run, pdp_json: Document) -> None:
    sink["health"] = Health(True, facts={"lag": 7})
    assert pdp_json("sink", "status")["healthy"] is True
    assert any(line.split() == ["lag", "7"] for line in pdp("sink", "status").stdout.splitlines())
    sink["health"] = Health(False, "No commit for 400 s.")
    ill = pdp("sink", "status")
    assert ill.exit_code == 1 and "No commit for 400 s." in ill.stdout
    assert pdp_json("sink", "status", code=1)["http_status"] == 503


def test_what_is_no_sink_is_said_so(endpoint: Endpoint, pdp: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    for body in (b"<html>", b"[]"):
        endpoint.answers["GET", "/healthz"] = (200, body)
        other = pdp("sink", "status")
        assert other.exit_code == 2 and "that is not a sink" in other.stderr
    assert pdp("sink", "flush").exit_code == 2
    assert "is not the URL of an HTTP endpoint" in pdp("sink", "status", "--url", "file:///etc/passwd").stderr
    nobody = pdp("sink", "status", "--url", "http://127.0.0.1:1")
    assert nobody.exit_code == 2 and "No sink answers at `http://127.0.0.1:1`" in nobody.stderr
    monkeypatch.delenv("SINK_ENDPOINT_URL")
    settings.cache_clear()
    unknown = pdp("sink", "status")
    assert unknown.exit_code == 2 and "set `SINK_ENDPOINT_URL`" in unknown.stderr


def test_a_watermark_is_shown_and_set_back(
    pdp: Run, pdp_json: Document, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("STATE_DIR", str(tmp_path / "state"))
    settings.cache_clear()
    assert pdp_json("watermark", "show") == {"watermarks": []}
    low = datetime(2026, 11, 20, 12, tzinfo=UTC)
    FileWatermark(tmp_path / "state", "orders").save(Position(low=Stamp.of(low)).to_json())
    (shown,) = pdp_json("watermark", "show")["watermarks"]
    assert (shown["source"], datetime.fromisoformat(shown["low"])) == ("orders", low)
    assert "2026-11-20 12:00:00" in pdp("watermark", "show").stdout
    wrong = pdp("watermark", "reset", "order")
    assert wrong.exit_code == 2 and "Did you mean `orders`?" in wrong.stderr
    forward = pdp("watermark", "reset", "orders", "--to", "2026-11-21")
    assert forward.exit_code == 2 and "would never be sent" in forward.stderr
    assert pdp("watermark", "reset", "orders", "--to", "2026-11-21", "--force").exit_code == 0
    assert pdp("watermark", "reset", "orders", "--to", "2026-11-19").exit_code == 0
    (shown,) = pdp_json("watermark", "show")["watermarks"]
    assert datetime.fromisoformat(shown["low"]) == datetime(2026, 11, 19, tzinfo=UTC)
    assert pdp_json("watermark", "reset", "orders")["after"] is None
    assert pdp_json("watermark", "show") == {"watermarks": []}


def test_starting_loads_no_client_and_no_framework() -> None:
    heavy = {"confluent_kafka", "pyspark", "dagster", "msgspec", "pyarrow", "pydantic"}
    code = f"import sys, pdp.cli; print(sorted({heavy} & set(sys.modules)))"
    done = subprocess.run([sys.executable, "-c", code], cwd=REPOSITORY, capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"
