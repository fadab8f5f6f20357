"""What every command of `pdp` has in common: it is given the platform, and has the option `--json`.

A command is a function whose first argument is the `Platform`; the option is added where it is registered, and
`pdp.output` obeys it. What a command does belongs to `pdp.commands`.
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
    """A group of commands."""

    def command(self, *args: Any, **settings: Any) -> Callable[[Command], Command]:  # type: ignore[override]
        """Register a function as a command, as Typer does."""
        register = super().command(*args, **settings)
        return lambda command: register(_on_the_platform(command))


def _on_the_platform(command: Command) -> Command:
    @wraps(command)
    def run(ctx: typer.Context, *args: Any, as_json: bool, **options: Any) -> None:
        AS_JSON.set(as_json)
        command(ctx.obj, *args, **options)

    _, *own = inspect.signature(command, eval_str=True).parameters.values()
    context = inspect.Parameter("ctx", inspect.Parameter.POSITIONAL_OR_KEYWORD, annotation=typer.Context)
    option = inspect.Parameter("as_json", inspect.Parameter.KEYWORD_ONLY, default=False, annotation=Json)
    run.__signature__ = inspect.Signature([context, *own, option])  # type: ignore[attr-defined]
    return run
