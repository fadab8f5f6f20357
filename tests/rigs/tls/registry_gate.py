"""TLS and a login in front of a schema registry, as managed ones have."""

from __future__ import annotations

import base64
import http.client
import ssl
import threading
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from http import HTTPStatus
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from urllib.parse import urlsplit

from tests.rigs.request_body import request_body

USER, PASSWORD = "registry-key", "registry-secret"


class _Gate(BaseHTTPRequestHandler):
    behind = ""
    behind_login = ""

    def _pass_on(self) -> None:
        body = request_body(self)
        if self.headers.get("Authorization") != basic(USER, PASSWORD):
            self._answer(HTTPStatus.UNAUTHORIZED, b'{"error_code": 401, "message": "Unauthorized"}')
            return
        connection = http.client.HTTPConnection(self.behind, timeout=30)
        headers = {name: self.headers[name] for name in ("Content-Type", "Accept") if name in self.headers}
        headers["Authorization"] = self.behind_login
        connection.request(self.command, self.path, body, headers)
        answer = connection.getresponse()
        self._answer(answer.status, answer.read())
        connection.close()

    do_GET = do_POST = do_PUT = _pass_on

    def _answer(self, status: int, body: bytes) -> None:
        self.send_response(status)
        self.send_header("Content-Type", "application/json")
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, format: str, *args: object) -> None:
        pass


def basic(user: str, password: str) -> str:
    """Return a login as the header `Authorization` has it."""
    return f"Basic {base64.b64encode(f'{user}:{password}'.encode()).decode()}"


@contextmanager
def registry_gate(registry: Mapping[str, str], certificate: Path, key: Path) -> Iterator[str]:
    """Yield the URL of the gate.

    Args:
        registry: Variables of the registry behind it.
        certificate: Of the gate.
        key: Of the certificate.
    """
    url = urlsplit(registry["SCHEMA_REGISTRY_URL"])
    login = basic(registry["SCHEMA_REGISTRY_USERNAME"], registry["SCHEMA_REGISTRY_PASSWORD"])
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(certificate, key)
    server = ThreadingHTTPServer(
        ("127.0.0.1", 0), type("Gate", (_Gate,), {"behind": url.netloc, "behind_login": login})
    )
    server.daemon_threads = True
    # The handshake belongs to a request's own thread: a client that refuses the certificate must not stop the server.
    server.socket = context.wrap_socket(server.socket, server_side=True, do_handshake_on_connect=False)
    server.handle_error = lambda *_: None  # type: ignore[method-assign]
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.05}, daemon=True)
    thread.start()
    try:
        yield f"https://127.0.0.1:{server.server_port}{url.path}"
    finally:
        server.shutdown()
        server.server_close()
        thread.join()
