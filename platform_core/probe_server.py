"""The HTTP endpoint of a long-running process: its metrics, its health, and what a person may ask it to do.

Only the protocol belongs here; what is measured, what counts as healthy and what an action does belong to the
process. The text of `/metrics` is Prometheus' exposition format
(https://prometheus.io/docs/instrumenting/exposition_formats); how to read the answers is in docs/operations.md.
"""

from __future__ import annotations

import contextlib
import json
import logging
import socket
import threading
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from functools import partial
from http import HTTPStatus
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any, cast

from prometheus_client import CONTENT_TYPE_LATEST, CollectorRegistry, generate_latest

from platform_core.errors import ConfigurationError, PlatformError, TransientError

log = logging.getLogger(__name__)

Route = tuple[str, str]
Answer = tuple[HTTPStatus, bytes, str]

LOOPBACK = "127.0.0.1"

# A client that stops halfway through its request must not hold a thread for ever.
REQUEST_SECONDS = 30
BODY_BYTES = 65_536


@dataclass(frozen=True)
class Health:
    """What a process says of itself.

    Attributes:
        ok: False asks the supervisor to restart the process or to send it no work: HTTP 503.
        reason: One sentence for a person; a healthy process with a reason is `degraded`.
        facts: The values behind the sentence, as JSON values.
    """

    ok: bool
    reason: str = ""
    facts: Mapping[str, Any] = field(default_factory=dict)

    @property
    def status(self) -> str:
        """`ok`, `degraded` or `failing`."""
        if not self.ok:
            return "failing"
        return "degraded" if self.reason else "ok"


class ProbeServer(contextlib.AbstractContextManager["ProbeServer"]):
    """Answers `GET /metrics`, `GET /healthz` and `POST /<action>` from daemon threads until `close`.

    An action's answer is 200 with its JSON object. An action that the process's state forbids raises a
    `PermanentError` (409), one that did not finish raises a `TransientError` (504).

    Args:
        port: TCP port; 0 takes a free one, found in `url`.
        registry: What `/metrics` shows.
        health: Called for each `/healthz`, in another thread than the process's own.
        host: Address to listen on.
        actions: Name of the path to what it does, called in another thread than the process's own.

    Raises:
        ConfigurationError: the address cannot be listened on.
    """

    def __init__(
        self,
        port: int,
        registry: CollectorRegistry,
        health: Callable[[], Health],
        *,
        host: str = LOOPBACK,
        actions: Mapping[str, Callable[[], dict[str, Any]]] | None = None,
    ) -> None:
        routes: dict[Route, Callable[[], Answer]] = {
            ("GET", "/metrics"): lambda: (HTTPStatus.OK, generate_latest(registry), CONTENT_TYPE_LATEST),
            ("GET", "/healthz"): lambda: _health_answer(health()),
        }
        for name, act in (actions or {}).items():
            routes["POST", f"/{name}"] = partial(_action_answer, act)
        try:
            self._server = _Server((host, port), routes)
        except OSError as error:
            raise ConfigurationError(
                f"The metrics endpoint cannot listen on `{host}:{port}`: {error.strerror}. Set `METRICS_PORT` to a"
                " free port and `METRICS_HOST` to an address of this machine.",
                port=port,
            ) from None
        self.port = int(self._server.server_address[1])
        self.url = f"http://{f'[{host}]' if ':' in host else host}:{self.port}"
        # The default of 0.5 s would be the time that `close` takes.
        self._thread = threading.Thread(
            target=self._server.serve_forever, kwargs={"poll_interval": 0.2}, name="probe-server", daemon=True
        )
        self._thread.start()
        log.info("probe_server_listens url=%s", self.url)

    def close(self) -> None:
        """Stop listening; may be called again."""
        if self._thread.is_alive():
            self._server.shutdown()
            self._thread.join()
        self._server.server_close()

    def __exit__(self, *raised: object) -> None:
        self.close()


class _Server(ThreadingHTTPServer):
    daemon_threads = True
    block_on_close = False

    def __init__(self, address: tuple[str, int], routes: Mapping[Route, Callable[[], Answer]]) -> None:
        self.address_family = socket.AF_INET6 if ":" in address[0] else socket.AF_INET
        self.routes = routes
        super().__init__(address, _Handler)

    def server_bind(self) -> None:
        # HTTPServer's own asks DNS for the host's name, which takes seconds where no resolver answers.
        self.socket.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        self.socket.bind(self.server_address)
        self.server_address = self.socket.getsockname()
        self.server_name, self.server_port = str(self.server_address[0]), int(self.server_address[1])


class _Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    timeout = REQUEST_SECONDS

    def do_GET(self) -> None:
        routes = cast(_Server, self.server).routes
        route = (self.command, self.path.partition("?")[0])
        # Unread, a body would be taken for the next request, or make the kernel drop the answer at the close.
        self.close_connection = self.command == "POST"
        with contextlib.suppress(ValueError, OSError):
            self.rfile.read(max(0, min(int(self.headers.get("Content-Length", "0")), BODY_BYTES)))
        if route in routes:
            self._answer(routes[route])
        else:
            known = ", ".join(" ".join(each) for each in routes)
            hint = f"There is no `{' '.join(route)}`; there are {known}."
            self._answer(lambda: _json_answer(HTTPStatus.NOT_FOUND, {"error": hint}))

    do_POST = do_GET

    def log_message(self, format: str, *args: Any) -> None:
        log.debug("probe_request client=%s %s", self.address_string(), format % args)

    def _answer(self, compute: Callable[[], Answer]) -> None:
        try:
            status, body, content_type = compute()
        except Exception as error:
            log.exception("probe_failed path=%s", self.path)
            hint = f"`{self.command} {self.path}` failed with `{type(error).__name__}`; the log has the cause."
            status, body, content_type = _json_answer(HTTPStatus.INTERNAL_SERVER_ERROR, {"error": hint})
        # A client that has gone does not wait for an answer.
        with contextlib.suppress(OSError):
            self.send_response(status)
            self.send_header("Content-Type", content_type)
            self.send_header("Content-Length", str(len(body)))
            self.end_headers()
            self.wfile.write(body)


def _health_answer(health: Health) -> Answer:
    status = HTTPStatus.OK if health.ok else HTTPStatus.SERVICE_UNAVAILABLE
    return _json_answer(status, {"status": health.status, "reason": health.reason, "facts": dict(health.facts)})


def _json_answer(status: HTTPStatus, answer: Mapping[str, Any]) -> Answer:
    return status, json.dumps(answer, default=str).encode() + b"\n", "application/json"


def _action_answer(act: Callable[[], dict[str, Any]]) -> Answer:
    try:
        return _json_answer(HTTPStatus.OK, act())
    except PlatformError as error:
        status = HTTPStatus.GATEWAY_TIMEOUT if isinstance(error, TransientError) else HTTPStatus.CONFLICT
        return _json_answer(status, {**error.facts, "error": error.message})
