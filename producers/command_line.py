"""What the command lines of producers and simulation share: one JSON summary, exit codes, logs to standard error.

A command's arguments and calls belong to its own command line.
"""

from __future__ import annotations

import argparse
import json
import logging
import sys
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

from platform_core import log_lines
from platform_core.domain.catalog import Catalog, configured_catalog
from platform_core.errors import ConfigurationError, PlatformError
from platform_core.settings import Settings, settings

EXIT_FAILED = 1
EXIT_MISCONFIGURED = 2


class CommandLine:
    """Commands of one program, each with `--report` and `--verbose`.

    Args:
        program: How it is started, for example `python -m producers`.
        description: What `--help` says first.
    """

    def __init__(self, program: str, description: str) -> None:
        self._parser = argparse.ArgumentParser(prog=program, description=description)
        self._commands = self._parser.add_subparsers(title="commands", required=True, metavar="COMMAND")

    def command(self, name: str, text: str, run: Callable[[argparse.Namespace], Any]) -> argparse.ArgumentParser:
        """Add a command; `run` returns its summary."""
        sub = self._commands.add_parser(name, help=text, description=text)
        sub.add_argument("--report", type=Path, metavar="FILE", help="write the JSON summary here instead of stdout")
        sub.add_argument("--verbose", action="store_true", help="log more")
        sub.set_defaults(run=run)
        return sub

    def main(self, arguments: Sequence[str] | None = None) -> int:
        """Run one command and return the process's exit code.

        Returns:
            0 when done or stopped by a signal, 2 for a mistake in the configuration, 1 for any other error.
        """
        parsed = self._parser.parse_args(arguments)
        logging.basicConfig(level=logging.DEBUG if parsed.verbose else logging.INFO, handlers=[log_lines.handler()])
        for chatty in ("httpx", "httpcore", "faker"):
            logging.getLogger(chatty).setLevel(logging.WARNING)
        try:
            summary = parsed.run(parsed)
        except ConfigurationError as error:
            print(f"error: {error.message}", file=sys.stderr)  # noqa: T201 - a person reads this line
            return EXIT_MISCONFIGURED
        except PlatformError as error:
            print(f"error: {error.message}", file=sys.stderr)  # noqa: T201 - see above
            return EXIT_FAILED
        except KeyboardInterrupt:
            return EXIT_FAILED
        text = json.dumps(summary)
        if parsed.report is not None:
            parsed.report.parent.mkdir(parents=True, exist_ok=True)
            parsed.report.write_text(text + "\n", encoding="utf-8")
        else:
            print(text, flush=True)  # noqa: T201 - the command's result
        return 0


def environment() -> tuple[Settings, Catalog]:
    """Return the settings and the domains that the environment names."""
    configured = settings()
    return configured, configured_catalog(configured)
