"""Command line of the embedded platform: `python -m infra.embedded demo|up|down`.

The Makefile calls it; everything it does is in `commands`.
"""

from __future__ import annotations

import argparse
import logging
import sys
from pathlib import Path

from platform_core.errors import ConfigurationError, PlatformError
from platform_core.settings import Settings, settings

ENGINES = ("spark", "sail")
STORES = ("folder", "s3")
MOST_DAYS = 366
MOST_WORKERS = 64
_WORKERS = "of a Spark cluster, instead of as many as SPARK_WORKERS says; 0 is none"


def main() -> int:
    """Parse the command line, run it, and turn a `PlatformError` into one sentence and exit code 1."""
    parser = argparse.ArgumentParser(prog="python -m infra.embedded", description=__doc__)
    commands = parser.add_subparsers(dest="command", required=True)
    demo = commands.add_parser("demo", help="the whole path once, with a proof")
    demo.add_argument("--days", type=_days, default=3)
    demo.add_argument("--events-per-day", type=_positive, default=50_000)
    demo.add_argument("--seed", type=int, default=7)
    demo.add_argument("--engine", choices=ENGINES, help="instead of the one that SPARK_ENGINE names")
    demo.add_argument("--workers", type=_workers, help=_WORKERS)
    demo.add_argument("--store", choices=STORES, default="folder", help="where the lake is: a folder, or a bucket")
    demo.add_argument("--keep", action="store_true", help="stay after the report, with the UI")
    up = commands.add_parser("up", help="start everything and stay")
    up.add_argument("--engine", choices=ENGINES, help="instead of the one that SPARK_ENGINE names")
    up.add_argument("--workers", type=_workers, help=_WORKERS)
    up.add_argument("--store", choices=STORES, help="where the lake is; by default where the first start put it")
    up.add_argument("--seed", type=int, default=7)
    up.add_argument("--folder", type=Path, help="of the platform; by default that of `make up` and `make down`")
    up.add_argument("--days", type=_days, default=2, help="of the history that the first start makes")
    up.add_argument("--events-per-day", type=_positive, default=20_000)
    commands.add_parser("down", help="end what `up` started")
    arguments = parser.parse_args()
    logging.basicConfig(level=logging.WARNING, format="%(levelname)s %(name)s %(message)s")
    try:
        return _run(arguments)
    except PlatformError as error:
        print(f"\n{error}", file=sys.stderr)
        return 1
    except KeyboardInterrupt:
        print("\nInterrupted; everything has ended.", file=sys.stderr)
        return 130


def _run(arguments: argparse.Namespace) -> int:
    if arguments.command == "down":
        from infra.embedded.commands import up

        return up.down()
    config = _sized(arguments.engine, arguments.workers)
    if arguments.command == "up":
        from infra.embedded.commands import up
        from infra.embedded.commands.first_history import ShortHistory

        past = ShortHistory(arguments.days, arguments.events_per_day, arguments.seed)
        return up.up(config, past, arguments.store, arguments.folder or up.ROOT)
    from infra.embedded.commands import demo

    return demo.run(
        arguments.days, arguments.events_per_day, arguments.seed, config, arguments.store, keep=arguments.keep
    )


def _sized(engine: str | None, workers: int | None) -> Settings:
    """Return the settings with the engine and the workers of the command line; workers mean Spark."""
    if engine == "sail" and workers:
        raise ConfigurationError("Sail has no workers: take `--engine spark` (`ENGINE=spark`), or no workers.")
    config = settings()
    number = config.spark_workers if workers is None else workers
    chosen = engine or ("spark" if number else config.spark_engine)
    return config.model_copy(update={"spark_engine": chosen, "spark_workers": number if chosen == "spark" else 0})


def _days(text: str) -> int:
    value = _positive(text)
    if value > MOST_DAYS:
        raise argparse.ArgumentTypeError(f"must be {MOST_DAYS} or less: each day is made, sent and processed")
    return value


def _workers(text: str) -> int:
    value = int(text)
    if not 0 <= value <= MOST_WORKERS:
        raise argparse.ArgumentTypeError(f"must be 0 to {MOST_WORKERS}")
    return value


def _positive(text: str) -> int:
    value = int(text)
    if value < 1:
        raise argparse.ArgumentTypeError("must be 1 or more")
    return value


if __name__ == "__main__":
    sys.exit(main())
