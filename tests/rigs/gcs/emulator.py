"""A strict emulator of Google Cloud Storage for tests: `python -m tests.rigs.gcs.emulator PORT PAGE`, on the loopback.

It is stricter than the real store: a parameter that it does not know is refused rather than ignored, a listing has
pages of a few keys, parts and pieces have the sizes that are documented, and a precondition is judged in one step with
the write. It proves that a client says what the protocol asks for, and nothing about logins, quotas and latency. The
requests are answered by `json_api` and `xml_api`. A test starts it by `service`, as a process of its own: a client that
keeps Python's lock while it waits for an answer would wait for ever for one of the same process.
"""

from __future__ import annotations

import json
import sys
from collections import Counter
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

from tests.rigs.gcs import json_api, xml_api
from tests.rigs.gcs.json_api import JsonApi, is_json
from tests.rigs.gcs.messages import Answer, Request
from tests.rigs.gcs.objects import Objects, RefusedError
from tests.rigs.gcs.xml_api import XmlApi
from tests.rigs.request_body import request_body

BUCKET = "lake"
CONTROL = "/_emulator"


class Emulator:
    """The server.

    Args:
        port: To listen on.
        page: Entries in a page of a listing.

    Attributes:
        objects: What is stored.
        refused: Requests that the emulator could not carry out; a test wants none.
        status: Answer everything with this status, as a store does that does not know the client (401, 403) or is
            down (503).
        requests: How many came, by method and API.
        targets: How many came, by method, path and query: an object that is read in pieces has one.
    """

    def __init__(self, port: int, page: int) -> None:
        self.objects = Objects([BUCKET], page)
        self.refused: list[str] = []
        self.status: int | None = None
        self.requests: Counter[str] = Counter()
        self.targets: Counter[str] = Counter()
        self._json = JsonApi(self.objects, f"http://127.0.0.1:{port}")
        self._xml = XmlApi(self.objects)
        emulator = self

        class Handler(_Handler):
            owner = emulator

        self._server = _Server(("127.0.0.1", port), Handler)

    def serve(self) -> None:
        """Answer until the process ends."""
        self._server.serve_forever()

    def answer(self, request: Request) -> Answer:
        """Carry a request out, or say no."""
        if request.path == CONTROL:
            return self._control(request)
        of_json = is_json(request.path)
        self.requests[f"{request.method} {'json' if of_json else 'xml'}"] += 1
        self.targets[f"{request.method} {request.target}"] += 1
        try:
            if self.status is not None:
                raise RefusedError(self.status, "on demand")
            return (self._json if of_json else self._xml).answer(request)
        except RefusedError as error:
            if error.status in (400, 501):
                self.refused.append(f"{request.method} {request.target}: {error.reason}")
            return (json_api if of_json else xml_api).refusal(error)
        except (ValueError, LookupError) as error:
            self.refused.append(f"{request.method} {request.target}: {error!r}")
            return (json_api if of_json else xml_api).refusal(RefusedError(400, repr(error)))

    def _control(self, request: Request) -> Answer:
        """Answer the test itself: what happened; and from now on what status everybody gets, and which rivals come."""
        if request.method == "PUT":
            asked = json.loads(request.body)
            self.status = asked["status"]
            self.objects.rivals = {end: text.encode() for end, text in asked["rivals"].items()}
        state = {
            "refused": self.refused,
            "overwritten": self.objects.overwritten,
            "requests": self.requests,
            "targets": self.targets,
        }
        return Answer(200, json.dumps(state).encode())


class _Server(ThreadingHTTPServer):
    daemon_threads = True
    request_queue_size = 128

    def handle_error(self, request: object, client_address: object) -> None:
        """Say nothing: a client that was killed, or hung up on, is no failure of the emulator."""


class _Handler(BaseHTTPRequestHandler):
    owner: Emulator
    protocol_version = "HTTP/1.1"
    disable_nagle_algorithm = True
    wbufsize = -1

    def log_message(self, format: str, *args: object) -> None:
        return

    def _serve(self) -> None:
        headers = {name.lower(): value for name, value in self.headers.items()}
        answer = self.owner.answer(Request(self.command, self.path, headers, request_body(self)))
        self.send_response_only(answer.status)
        for name, value in answer.headers.items():
            self.send_header(name, value)
        if answer.status != 204:
            self.send_header("Content-Length", str(len(answer.body)))
        self.end_headers()
        if self.command != "HEAD":
            self.wfile.write(answer.body)

    do_GET = do_HEAD = do_PUT = do_POST = do_DELETE = do_PATCH = _serve


if __name__ == "__main__":
    Emulator(int(sys.argv[1]), int(sys.argv[2])).serve()
