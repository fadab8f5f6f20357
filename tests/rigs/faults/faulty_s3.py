"""An HTTP proxy before a real S3 server that fails on demand: what a network and a busy store do to a client.

`reply_lost` is the ambiguous one: the server has carried the request out, and the client never hears of it.
"""

from __future__ import annotations

import http.client
import random
import socket
import struct
import threading
import time
from collections import Counter
from collections.abc import Mapping, Sequence
from enum import StrEnum
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

from tests.rigs.request_body import request_body


class Fault(StrEnum):
    THROTTLED = "429"
    UNAVAILABLE = "500"
    RESET = "reset"
    SLOW = "slow"
    REPLY_LOST = "reply_lost"
    NO_SPACE = "507"


SLOW_SECONDS = 2.0
ANSWERS: Mapping[str, tuple[int, str]] = {
    Fault.THROTTLED: (429, "SlowDown"),
    Fault.UNAVAILABLE: (500, "InternalError"),
    Fault.NO_SPACE: (507, "XMinioStorageFull"),
}


class FaultyS3:
    """The proxy; `rate` is the share of write requests that fail while `fault` is set, to one or to several by lot.

    Each of several strikes before one strikes again. Which write is struck is by lot too, and never further apart than
    twice the mean: so many writes have a fault for sure.
    """

    answers = ANSWERS

    def __init__(self, endpoint: str, seed: int) -> None:
        host, port = endpoint.removeprefix("http://").split(":")
        self.target = (host, int(port))
        self.fault: str | Sequence[str] | None = None
        self.rate = 1.0
        self.counts: Counter[str] = Counter()
        self._draw = random.Random(seed)
        self._lot, self._spared = self._draw.random(), 0
        self._bag: list[str] = []
        self._lock = threading.Lock()
        proxy = self

        class Handler(_Handler):
            owner = proxy

        self._server = _Server(("127.0.0.1", 0), Handler)
        threading.Thread(target=self._server.serve_forever, daemon=True).start()

    @property
    def endpoint(self) -> str:
        return f"http://127.0.0.1:{self._server.server_port}"

    def close(self) -> None:
        self._server.shutdown()
        self._server.server_close()

    def draw(self, method: str, path: str) -> str | None:
        with self._lock:
            if self.fault is None or method not in ("PUT", "POST", "DELETE") or not self._strikes(path):
                return None
            fault = self.fault if isinstance(self.fault, str) else self._one_of(self.fault)
            self.counts[fault] += 1
            return fault

    def _one_of(self, faults: Sequence[str]) -> str:
        if not set(self._bag) <= set(faults) or not self._bag:
            self._bag = self._draw.sample(faults, len(faults))
        return self._bag.pop()

    def _strikes(self, path: str) -> bool:
        self._spared += 1
        if self._spared < 1 + self._lot * (2 / self.rate - 2):
            return False
        self._lot, self._spared = self._draw.random(), 0
        return True


class CommitFault(FaultyS3):
    """The proxy, which can also strike each table's next commit, and nothing else."""

    def __init__(self, endpoint: str, seed: int) -> None:
        super().__init__(endpoint, seed)
        self._struck: set[str] | None = None

    def strike(self, fault: Fault) -> None:
        """Let the next commit of each table fail in this way."""
        self._struck, self.fault = set(), fault

    def calm(self) -> None:
        """Let nothing fail."""
        self._struck = self.fault = None

    def _strikes(self, path: str) -> bool:
        if self._struck is None:
            return super()._strikes(path)
        table, is_commit, _ = path.partition("/_delta_log/0")
        if not is_commit or table in self._struck:
            return False
        self._struck.add(table)
        return True


class _Server(ThreadingHTTPServer):
    daemon_threads = True

    def handle_error(self, request: object, client_address: object) -> None:
        """Say nothing: a client that was killed, or hung up on, is what this is for."""


class _Handler(BaseHTTPRequestHandler):
    owner: FaultyS3
    protocol_version = "HTTP/1.1"

    def log_message(self, format: str, *args: object) -> None:
        return

    def _serve(self) -> None:
        body = self._body()
        fault = self.owner.draw(self.command, self.path)
        if fault in self.owner.answers:
            self._refuse(*self.owner.answers[fault])
            return
        if fault is Fault.RESET:
            self._reset()
            return
        if fault is Fault.SLOW:
            time.sleep(SLOW_SECONDS)
        connection = http.client.HTTPConnection(*self.owner.target, timeout=60)
        try:
            connection.putrequest(self.command, self.path, skip_host=True, skip_accept_encoding=True)
            for name, value in self.headers.items():
                if name.lower() not in ("connection", "expect", "transfer-encoding", "content-length"):
                    connection.putheader(name, value)
            if body or self.command in ("PUT", "POST"):
                connection.putheader("Content-Length", str(len(body)))
            connection.endheaders(body)
            answer = connection.getresponse()
            content = answer.read()
        except OSError:
            self._reset()
            return
        finally:
            connection.close()
        if fault is Fault.REPLY_LOST:
            self._reset()
            return
        self.send_response_only(answer.status, answer.reason)
        for name, value in answer.headers.items():
            if name.lower() not in ("transfer-encoding", "connection", "content-length"):
                self.send_header(name, value)
        length = answer.headers.get("Content-Length") if self.command == "HEAD" else str(len(content))
        if length is not None and answer.status != 204:
            self.send_header("Content-Length", length)
        self.end_headers()
        self.wfile.write(content)

    do_GET = do_HEAD = do_PUT = do_POST = do_DELETE = _serve

    def _body(self) -> bytes:
        return request_body(self)

    def _refuse(self, status: int, code: str) -> None:
        text = f"<Error><Code>{code}</Code><Message>on demand</Message></Error>".encode()
        self.send_response_only(status)
        self.send_header("Content-Type", "application/xml")
        self.send_header("Content-Length", str(len(text)))
        self.end_headers()
        self.wfile.write(text)

    def _reset(self) -> None:
        self.connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        self.close_connection = True
        self.connection.close()
        # The base class flushes and closes files of a connection that is gone already.
        self.wfile = _Nowhere()  # type: ignore[assignment]


class _Nowhere:
    closed = True

    def flush(self) -> None:
        return

    def close(self) -> None:
        return
