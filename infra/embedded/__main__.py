"""Command line of the embedded platform: `python -m infra.embedded demo|up|down`.

The Makefile calls it; everything it does is in `commands`.
"""

from __future__ import annotations

import argparse
import logging
import sys

from platform_core.errors import PlatformError


def main() -> int:
    """Parse the command line, run it, and turn a `PlatformError` into one sentence and exit code 1."""
    parser = argparse.ArgumentParser(prog="python -m infra.embedded", description=__doc__)
    commands = parser.add_subparsers(dest="command", required=True)
    demo = commands.add_parser("demo", help="the whole path once, with a proof")
    demo.add_argument("--days", type=_positive, default=3)
    demo.add_argument("--events-per-day", type=_positive, default=50_000)
    demo.add_argument("--seed", type=int, default=7)
    demo.add_argument("--engine", choices=("spark", "sail"), default="spark")
    demo.add_argument("--keep", action="store_true", help="stay after the report, with the UI")
    up = commands.add_parser("up", help="start everything and stay")
    up.add_argument("--engine", choices=("spark", "sail"), default="spark")
    up.add_argument("--seed", type=int, default=7)
    commands.add_parser("down", help="end what `up` started")
    arguments = parser.parse_args()
    logging.basicConfig(level=logging.WARNING, format="%(levelname)s %(name)s %(message)s")
    try:
        if arguments.command == "demo":
            from infra.embedded.commands import demo as demo_module

            return demo_module.run(
                arguments.days, arguments.events_per_day, arguments.seed, arguments.engine, keep=arguments.keep
            )
        from infra.embedded.commands import up as up_module

        return up_module.up(arguments.engine, arguments.seed) if arguments.command == "up" else up_module.down()
    except PlatformError as error:
        print(f"\n{error}", file=sys.stderr)
        return 1
    except KeyboardInterrupt:
        print("\nInterrupted; everything has ended.", file=sys.stderr)
        return 130


def _positive(text: str) -> int:
    value = int(text)
    if value < 1:
        raise argparse.ArgumentTypeError("must be 1 or more")
    return value


if __name__ == "__main__":
    sys.exit(main())
