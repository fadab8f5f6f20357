"""TLS and a login in front of a schema registry, as managed ones have."""

from __future__ import annotations

import base64
import http.client
import ssl
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from http import HTTPStatus
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from urllib.parse import urlsplit

from tests.rigs.request_body import request_body

USER, PASSWORD = "registry-key", "registry-secret"


class _Gate(BaseHTTPRequestHandler):
    behind = ""

    def _pass_on(self) -> None:
        body = request_body(self)
        login = base64.b64encode(f"{USER}:{PASSWORD}".encode()).decode()
        if self.headers.get("Authorization") != f"Basic {login}":
            self._answer(HTTPStatus.UNAUTHORIZED, b'{"error_code": 401, "message": "Unauthorized"}')
            return
        connection = http.client.HTTPConnection(self.behind, timeout=30)
        headers = {name: self.headers[name] for name in ("Content-Type", "Accept") if name in self.headers}
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


@contextmanager
def registry_gate(registry_url: str, certificate: Path, key: Path) -> Iterator[str]:
    """Yield the URL of the gate."""
    url = urlsplit(registry_url)
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(certificate, key)
    server = ThreadingHTTPServer(("127.0.0.1", 0), type("Gate", (_Gate,), {"behind": url.netloc}))
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
