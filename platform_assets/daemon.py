"""`python -m platform_assets.daemon -w workspace.yaml`: Dagster's daemon, of which one runs for an instance.

It takes the arguments of `dagster-daemon run`. Which one runs is decided by `platform_assets.instance.one_daemon`. Exit
codes: 0 stopped as asked; 75 (EX_TEMPFAIL) Dagster's database does not answer, start it again; 78 (EX_CONFIG) settings
must be mended first.
"""

from __future__ import annotations

import logging
import os
import signal
import sys
import threading
from collections.abc import Sequence
from contextlib import AbstractContextManager, nullcontext
from pathlib import Path

from platform_assets.instance.one_daemon import only_daemon
from platform_core import log_lines
from platform_core.errors import ConfigurationError, PlatformError
from platform_core.settings import Settings, settings

STOP_SECONDS = 8.0
"""A daemon that has lost its lock ends within this, whatever it does."""


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the daemon when no other one runs, and return the exit code.

    Args:
        arguments: Those of `dagster-daemon run`; None is `sys.argv`.
    """
    # Dagster's loggers have handlers of their own, and would print each line twice through the root's.
    logging.getLogger("platform_assets").addHandler(log_lines.handler())
    # Process 1 of a container ignores a signal that it has no handler for.
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(os.EX_OK))
    try:
        with only_daemon(settings(), _home(), _end_at_once):
            from dagster._daemon.cli import cli

            with _metrics(settings()):
                cli(["run", *(sys.argv[1:] if arguments is None else arguments)], standalone_mode=False)
    except PlatformError as error:
        logging.getLogger("platform_assets.daemon").error("daemon_cannot_run error=%s", error)
        return os.EX_CONFIG if isinstance(error, ConfigurationError) else os.EX_TEMPFAIL
    return os.EX_OK


def _metrics(config: Settings) -> AbstractContextManager[None]:
    """Return the endpoint of the daemon that runs: one that waits says nothing, for it does nothing."""
    if config.metrics_port is None:  # then the clients of the lake and of Kafka need not be loaded
        return nullcontext()
    from platform_assets.metrics.exporter import served

    return served(config)


def _home() -> Path:
    home = Path(os.environ.get("DAGSTER_HOME", ""))
    if not home.is_absolute() or not (home / "dagster.yaml").is_file():
        raise ConfigurationError(
            "DAGSTER_HOME must be a folder that has the platform's `dagster.yaml`. Copy that file there, and set"
            " DAGSTER_HOME to the folder's absolute path."
        )
    return home


def _end_at_once() -> None:
    timer = threading.Timer(STOP_SECONDS, os._exit, [os.EX_TEMPFAIL])
    timer.daemon = True
    timer.start()
    os.kill(os.getpid(), signal.SIGINT)


if __name__ == "__main__":
    sys.exit(main())
