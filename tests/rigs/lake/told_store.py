"""A store with S3's API that answers what a test tells it to, and notes what it was asked."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

from platform_core.settings import Settings

Answer = tuple[int, str]


@dataclass
class ToldStore:
    """Answers by method, the last one again and again; 200 and nothing where none was told."""

    answers: dict[str, list[Answer]] = field(default_factory=dict)
    asked: list[str] = field(default_factory=list)
    port: int = 0

    def settings(self, **more: object) -> Settings:
        """Return the settings of a lake in it."""
        return Settings(
            lake_uri="s3://lake/below",
            s3_endpoint_url=f"http://127.0.0.1:{self.port}",
            s3_access_key="AKIAEXAMPLE",
            s3_secret_key="hunter2",
            **more,  # type: ignore[arg-type]
        )

    def answer(self, method: str) -> Answer:
        told = self.answers.get(method) or [(200, "")]
        return told.pop(0) if len(told) > 1 else told[0]


@contextmanager
def told_store(**answers: list[Answer]) -> Iterator[ToldStore]:
    """Start a store that gives these answers to each method."""
    store = ToldStore(answers)

    class Handler(BaseHTTPRequestHandler):
        def _serve(self) -> None:
            self.rfile.read(int(self.headers.get("Content-Length") or 0))
            condition = f" {condition}" if (condition := self.headers.get("If-None-Match")) else ""
            store.asked.append(f"{self.command} {self.path}{condition}")
            status, body = store.answer(self.command)
            self.send_response(status)
            self.send_header("Content-Length", str(len(body)))
            self.end_headers()
            self.wfile.write(body.encode())

        do_GET = do_PUT = _serve

        def log_message(self, format: str, *args: object) -> None:
            return

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    store.port = server.server_port
    threading.Thread(target=server.serve_forever, daemon=True).start()
    try:
        yield store
    finally:
        server.shutdown()
        server.server_close()
