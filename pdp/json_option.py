"""The option `--json` that every command has: it is added where a command is registered, and `pdp.output` obeys it.

Only the option belongs here; what is printed is decided by `pdp.output` and each command.
"""

from __future__ import annotations

import inspect
from collections.abc import Callable
from functools import wraps
from typing import Annotated, Any

import typer

from pdp.output import AS_JSON

Command = Callable[..., None]
Json = Annotated[bool, typer.Option("--json", help="Print one JSON document instead of tables")]


class Commands(typer.Typer):
    """A group of commands with `--json`."""

    def command(self, *args: Any, **settings: Any) -> Callable[[Command], Command]:  # type: ignore[override]
        """Register a function as a command, as Typer does."""
        register = super().command(*args, **settings)
        return lambda command: register(_with_json(command))


def _with_json(command: Command) -> Command:
    @wraps(command)
    def run(*args: Any, as_json: bool, **options: Any) -> None:
        AS_JSON.set(as_json)
        command(*args, **options)

    signature = inspect.signature(command, eval_str=True)
    option = inspect.Parameter("as_json", inspect.Parameter.KEYWORD_ONLY, default=False, annotation=Json)
    run.__signature__ = signature.replace(parameters=[*signature.parameters.values(), option])  # type: ignore[attr-defined]
    return run
