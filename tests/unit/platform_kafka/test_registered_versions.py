"""The registry's versions by plain requests: what a redirect gets to see of the login."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, HTTPServer
from threading import Thread

from pydantic import SecretStr

from platform_core.settings import Settings
from platform_kafka.registered_versions import registered_versions


@contextmanager
def server(heard: list[str | None], location: str | None = None) -> Iterator[str]:
    """Serve a registry without versions, or a redirect; each request's login is appended to a list."""

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            heard.append(self.headers.get("Authorization"))
            self.send_response(200 if location is None else 302)
            if location is not None:
                self.send_header("Location", location)
            self.end_headers()
            self.wfile.write(b"[]" if location is None else b"")

        def log_message(self, format: str, *args: object) -> None:
            """Print nothing."""

    with HTTPServer(("127.0.0.1", 0), Handler) as httpd:
        thread = Thread(target=httpd.serve_forever, kwargs={"poll_interval": 0.01})
        thread.start()
        try:
            yield f"http://127.0.0.1:{httpd.server_port}"
        finally:
            httpd.shutdown()
            thread.join()


def test_the_login_is_for_the_registry_and_not_for_where_it_redirects_to() -> None:
    at_registry: list[str | None] = []
    elsewhere: list[str | None] = []
    with server(elsewhere) as other, server(at_registry, f"{other}/subjects") as registry:
        config = Settings(
            schema_registry_url=registry,
            schema_registry_username="platform",
            schema_registry_password=SecretStr("secret"),
        )
        assert registered_versions(config, "orders-value") == []
    assert at_registry == ["Basic cGxhdGZvcm06c2VjcmV0"]
    assert elsewhere == [None]
