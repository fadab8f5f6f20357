"""The HTTP endpoint of a long-running process: its metrics, its health, and what a person may ask it to do.

Only the protocol belongs here; what is measured, what counts as healthy and what an action does belong to the
process. The text of `/metrics` is Prometheus' exposition format
(https://prometheus.io/docs/instrumenting/exposition_formats); how to read the answers is in docs/operations.md.
"""

from __future__ import annotations

import hmac
import json
import logging
import socket
import threading
from collections.abc import Callable, Iterable, Mapping
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass, field
from functools import partial
from http import HTTPStatus
from ipaddress import ip_address
from typing import TYPE_CHECKING, Any
from wsgiref.simple_server import WSGIRequestHandler

from prometheus_client import CollectorRegistry
from prometheus_client.exposition import ThreadingWSGIServer, make_wsgi_app

from platform_core.errors import ConfigurationError, PermanentError, TransientError
from platform_core.settings import Settings

if TYPE_CHECKING:
    from wsgiref.types import StartResponse, WSGIApplication, WSGIEnvironment

log = logging.getLogger(__name__)

Answer = tuple[HTTPStatus, Mapping[str, Any]]

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


class ProbeServer(AbstractContextManager["ProbeServer"]):
    """Answers `GET /metrics`, `GET /healthz` and `POST /<action>` from daemon threads until `close`.

    Whoever reaches the port may read the metrics and the health. An action is for who shows the token as
    `Authorization: Bearer`, and without a token for processes of this machine, never for a web page.

    An action's answer is 200 with its JSON object. An action that the process's state forbids raises a
    `PermanentError` (409), one that did not finish raises a `TransientError` (504).

    Args:
        port: TCP port; 0 takes a free one, found in `url`.
        registry: What `/metrics` shows.
        health: Called for each `/healthz`, in another thread than the process's own.
        host: Address to listen on.
        actions: Name of the path to what it does, called in another thread than the process's own.
        token: What an action asks for.

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
        token: str | None = None,
    ) -> None:
        try:
            self._server = _Server(host, port, _application(registry, health, actions or {}, token))
        except OSError as error:
            raise ConfigurationError(
                f"The metrics endpoint cannot listen on `{host}:{port}`: {error.strerror}. Set `METRICS_PORT` to a"
                " free port and `METRICS_HOST` to an address of this machine.",
            ) from None
        self.port = int(self._server.server_address[1])
        self.url = f"http://{f'[{host}]' if ':' in host else host}:{self.port}"
        # The default of 0.5 s would be the time that `close` takes.
        self._thread = threading.Thread(
            target=self._server.serve_forever, kwargs={"poll_interval": 0.2}, name="probe-server", daemon=True
        )
        self._thread.start()
        log.info("probe_server_listens url=%s", self.url)

    @classmethod
    def of(
        cls,
        settings: Settings,
        registry: CollectorRegistry,
        health: Callable[[], Health],
        actions: Mapping[str, Callable[[], dict[str, Any]]] | None = None,
    ) -> AbstractContextManager[object]:
        """Return the endpoint that `METRICS_PORT` asks for, as a context; where it is empty, one that does nothing."""
        if settings.metrics_port is None:
            return nullcontext()
        token = settings.sink_flush_token.get_secret_value() if settings.sink_flush_token else None
        return cls(settings.metrics_port, registry, health, host=settings.metrics_host, actions=actions, token=token)

    def close(self) -> None:
        """Stop listening; may be called again."""
        if self._thread.is_alive():
            self._server.shutdown()
            self._thread.join()
        self._server.server_close()

    def __exit__(self, *_: object) -> None:
        self.close()


class _Server(ThreadingWSGIServer):
    block_on_close = False

    def __init__(self, host: str, port: int, application: WSGIApplication) -> None:
        self.address_family = socket.AF_INET6 if ":" in host else socket.AF_INET
        super().__init__((host, port), _Handler)
        self.set_app(application)

    def server_bind(self) -> None:
        # HTTPServer's own asks DNS for the host's name, which takes seconds where no resolver answers.
        self.socket.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        self.socket.bind(self.server_address)
        self.server_address = self.socket.getsockname()
        self.server_name, self.server_port = str(self.server_address[0]), int(self.server_address[1])
        self.setup_environ()

    def handle_error(self, request: Any, client_address: Any) -> None:
        log.debug("probe_request_failed client=%s", client_address, exc_info=True)  # the client has gone, or is silent


class _Handler(WSGIRequestHandler):
    timeout = REQUEST_SECONDS

    def log_message(self, format: str, *args: Any) -> None:
        log.debug("probe_request client=%s %s", self.address_string(), format % args)


def _application(
    registry: CollectorRegistry,
    health: Callable[[], Health],
    actions: Mapping[str, Callable[[], dict[str, Any]]],
    token: str | None,
) -> WSGIApplication:
    metrics: WSGIApplication = make_wsgi_app(registry)
    routes: dict[str, Callable[[], Answer]] = {"GET /healthz": lambda: _health_answer(health())}
    routes |= {f"POST /{name}": partial(_action_answer, action) for name, action in actions.items()}
    paths = ", ".join(["GET /metrics", *routes])

    def application(environ: WSGIEnvironment, start_response: StartResponse) -> Iterable[bytes]:
        route = f"{environ['REQUEST_METHOD']} {environ['PATH_INFO']}"
        if route == "GET /metrics":
            return metrics(environ, start_response)
        length = environ.get("CONTENT_LENGTH") or "0"
        if length.isdecimal():  # what is left unread makes the kernel drop the answer at the close
            environ["wsgi.input"].read(min(int(length), BODY_BYTES))
        unknown = {"error": f"There is no `{route}`; there are {paths}."}
        compute = routes.get(route, lambda: (HTTPStatus.NOT_FOUND, unknown))
        if route in routes and environ["REQUEST_METHOD"] == "POST" and (refusal := _refusal(environ, token)):
            log.warning("probe_action_refused route=%s client=%s", route, environ["REMOTE_ADDR"])
            compute = partial(_refused, refusal)
        status, answer = _answer(route, compute)
        start_response(f"{status.value} {status.phrase}", [("Content-Type", "application/json")])
        return [json.dumps(answer, default=str).encode() + b"\n"]

    return application


def _refusal(environ: WSGIEnvironment, token: str | None) -> str | None:
    if token is not None:
        shown = environ.get("HTTP_AUTHORIZATION", "").encode()
        right = hmac.compare_digest(shown, f"Bearer {token}".encode())
        return None if right else "Show the token of this process: `SINK_FLUSH_TOKEN` must be the same for both."
    # A browser of this machine says from which page a request comes.
    if "HTTP_ORIGIN" in environ or not ip_address(environ["REMOTE_ADDR"]).is_loopback:
        return "Without a token only processes of its own machine may ask: set `SINK_FLUSH_TOKEN` for both."
    return None


def _refused(why: str) -> Answer:
    return HTTPStatus.UNAUTHORIZED, {"error": why}


def _answer(route: str, compute: Callable[[], Answer]) -> Answer:
    try:
        return compute()
    except TransientError as error:
        return HTTPStatus.GATEWAY_TIMEOUT, {"error": error.message}
    except PermanentError as error:
        return HTTPStatus.CONFLICT, {"error": error.message}
    except Exception as error:
        log.exception("probe_failed route=%s", route)
        hint = f"`{route}` failed with `{type(error).__name__}`; the log has the cause."
        return HTTPStatus.INTERNAL_SERVER_ERROR, {"error": hint}


def _action_answer(action: Callable[[], dict[str, Any]]) -> Answer:
    return HTTPStatus.OK, action()


def _health_answer(health: Health) -> Answer:
    status = HTTPStatus.OK if health.ok else HTTPStatus.SERVICE_UNAVAILABLE
    return status, {"status": health.status, "reason": health.reason, "facts": dict(health.facts)}
