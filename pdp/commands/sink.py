"""`pdp sink`: ask the running sink how it is, and make it write what it holds now.

Only the HTTP client belongs here, with the standard library; what the sink does and answers is the sink's.
"""

from __future__ import annotations

import json
from http import HTTPStatus
from typing import Annotated, Any
from urllib import request
from urllib.error import HTTPError, URLError
from urllib.parse import urlsplit

import typer
from rich.text import Text

from pdp import output
from pdp.arguments import ArgumentError
from pdp.environment import Platform
from pdp.registration import Commands
from platform_core.counted import counted
from platform_core.errors import ConfigurationError, TransientError

app = Commands(help="Ask the running sink, or make it write what it holds.", no_args_is_help=True)

Url = Annotated[
    str | None, typer.Option("--url", metavar="URL", help="The sink's HTTP endpoint; default `SINK_ENDPOINT_URL`")
]

STATUS_SECONDS = 5.0

FLUSH_SECONDS = 60.0
"""A flush writes every buffer to the store and commits; the sink itself gives up after 20 s."""

ANSWER_BYTES = 1_048_576


@app.command()
def flush(platform: Platform, url: Url = None) -> None:
    """Make the sink write and commit all that it has buffered, instead of waiting for size or age."""
    base = _base(platform, url)
    token = platform.settings.sink_flush_token
    status, answer = _ask(base, "/flush", FLUSH_SECONDS, "POST", token.get_secret_value() if token else None)
    if status == HTTPStatus.UNAUTHORIZED:
        raise ConfigurationError(
            f"The sink at `{base}` takes no flush from here. Set `SINK_FLUSH_TOKEN` to the one of the sink."
        )
    drained = status == HTTPStatus.OK and answer.get("drained") is True
    done = f"{counted(answer.get('rows', 0), 'row')} written and committed in {answer.get('seconds', 0):.1f} s"
    left = (
        f"The sink at `{base}` did not write everything (HTTP {status}): {_facts(answer)}. What is left is written"
        " by and by. Look again: pdp sink status"
    )
    document = {**answer, "url": base, "http_status": status}
    output.answer(document, *([Text(done)] if drained else []), notes=[] if drained else [left])
    if not drained:
        raise typer.Exit(1)


@app.command("status")
def status_of_sink(platform: Platform, url: Url = None) -> None:
    """Show whether the sink is healthy, as its own check sees it."""
    base = _base(platform, url)
    status, answer = _ask(base, "/healthz", STATUS_SECONDS)
    healthy = status == HTTPStatus.OK
    facts = {**answer, **_object(answer.get("facts"))}
    shown = [("healthy", Text("yes", "green") if healthy else Text("no", "red")), *facts.items()]
    output.answer(
        {**answer, "url": base, "http_status": status, "healthy": healthy},
        output.pairs("fact", [(name, value) for name, value in shown if name != "facts"]),
    )
    if not healthy:
        raise typer.Exit(1)


def _base(platform: Platform, url: str | None) -> str:
    port = platform.settings.metrics_port
    base = url or platform.settings.sink_endpoint_url or (f"http://127.0.0.1:{port}" if port else "")
    if not base:
        raise ConfigurationError(
            "Where the sink's HTTP endpoint is, is not known: set `SINK_ENDPOINT_URL`, or add `--url http://host:port`."
        )
    parts = urlsplit(base)
    if parts.scheme not in ("http", "https") or not parts.netloc:
        raise ArgumentError(f"`{base}` is not the URL of an HTTP endpoint. Write it as `http://host:port`.")
    return base.rstrip("/")


def _ask(
    base: str, path: str, seconds: float, method: str = "GET", token: str | None = None
) -> tuple[int, dict[str, Any]]:
    question = request.Request(base + path, method=method)
    if token is not None:  # not for whom a redirect names
        question.add_unredirected_header("Authorization", f"Bearer {token}")
    try:
        try:
            with request.urlopen(question, timeout=seconds) as response:
                status, body = response.status, response.read(ANSWER_BYTES)
        except HTTPError as error:  # 503 is an answer
            status, body = error.code, error.read(ANSWER_BYTES)
        answer = json.loads(body)
        if status == HTTPStatus.NOT_FOUND or not isinstance(answer, dict):
            raise ValueError
    except (URLError, OSError) as error:
        reason = getattr(error, "reason", error)
        raise TransientError(
            f"No sink answers at `{base}`: {reason}. Check that it runs, and `SINK_ENDPOINT_URL` or `--url`."
        ) from None
    except ValueError:
        raise TransientError(
            f"`{base}{path}` answered HTTP {status} without a JSON object: that is not a sink. Check"
            " `SINK_ENDPOINT_URL` or `--url`.",
        ) from None
    return status, answer


def _object(value: object) -> dict[str, Any]:
    return value if isinstance(value, dict) else {}


def _facts(answer: dict[str, Any]) -> str:
    return ", ".join(f"{name} {value}" for name, value in answer.items())
