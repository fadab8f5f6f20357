"""The application `pdp`: its commands, global options and exit codes.

Add a command in a module of its own and register it here. Exit codes: 0 done, 1 something asked for did not happen,
2 the command could not start or was not understood.
"""

from __future__ import annotations

import errno
import os
from pathlib import Path
from typing import Annotated, Any

import typer
from typer.core import TyperGroup

from pdp import environment, output
from pdp.commands import (
    alerts,
    audit,
    backfill,
    corrections,
    dlq,
    domains,
    erase,
    kafka,
    maintain,
    offsets,
    partitions,
    quarantine,
    sink,
    trace,
    watermark,
)
from pdp.registration import Commands
from platform_core.errors import PlatformError
from platform_core.lake.lake_errors import in_one_line, is_of_the_lake

EXIT_COULD_NOT_START = 2


class ExplainingGroup(TyperGroup):
    """Turns what the platform can explain into one message on stderr and exit code 2, without a traceback."""

    def invoke(self, ctx: Any) -> Any:
        """Run the command that was asked for."""
        try:
            return super().invoke(ctx)
        except PlatformError as error:
            message = error.message
        except Exception as error:
            if not _of_the_lake(error):
                raise
            message = f"The lake did not answer: {in_one_line(error)}. Check `LAKE_URI` and the variables `S3_*`."
        output.note(f"error: {message}")
        raise typer.Exit(EXIT_COULD_NOT_START)


def _of_the_lake(error: Exception) -> bool:
    return is_of_the_lake(error) and getattr(error, "errno", None) != errno.EPIPE


app = Commands(
    name="pdp",
    cls=ExplainingGroup,
    help="Look at the platform's partitions and streams, and change them. Every command has --json.",
    no_args_is_help=True,
    pretty_exceptions_enable=False,
    context_settings={"help_option_names": ["-h", "--help"]},
)
app.add_typer(partitions.app, name="partitions")
app.add_typer(quarantine.app, name="quarantine")
app.add_typer(dlq.app, name="dlq")
app.add_typer(offsets.app, name="offsets")
app.add_typer(watermark.app, name="watermark")
app.add_typer(sink.app, name="sink")
app.command("domains")(domains.domains)
app.command("topics")(kafka.topics)
app.command("lag")(kafka.lag)
app.command("peek")(kafka.peek)
app.command("alerts")(alerts.alerts)
app.command("audit")(audit.audit)
app.command("trace")(trace.trace)
app.command("backfill")(backfill.backfill)
app.command("corrections")(corrections.corrections)
app.command("erase")(erase.erase)
app.command("maintain")(maintain.maintain)


@app.callback()
def prepare(
    ctx: typer.Context,
    env_file: Annotated[
        Path | None,
        typer.Option("--env-file", metavar="PATH", help="File of NAME='value' lines to take the settings from"),
    ] = None,
) -> None:
    """Look at the platform's partitions and streams, and change them. Every command has --json."""
    path = environment.load(env_file, os.environ)
    if path is not None and env_file is None:
        output.note(f"Settings of the platform that runs on this machine: {path}")
    ctx.obj = environment.Platform()


def main() -> None:
    """Run the command line of this process and end it with the exit code."""
    app()
