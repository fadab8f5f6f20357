"""The command line of the producers: arguments to calls, results to one line of JSON.

Only parsing, wiring and exit codes belong here. Standard output carries nothing but the summary; logs go to
standard error.
"""

from __future__ import annotations

import argparse
import json
import logging
import sys
from collections.abc import Callable, Sequence
from datetime import UTC, date, datetime
from pathlib import Path
from typing import Any

from platform_core.domain.catalog import Catalog, load_catalog
from platform_core.errors import ConfigurationError, PlatformError
from platform_core.settings import Settings, settings
from producers.running import Stop
from producers.world import World, WorldSize

DEFAULT_SEED = 7
DEFAULT_EVENTS_PER_DAY = 860_000
SOURCE_DOMAINS = {"clickstream": "events", "orders": "orders", "restaurants": "restaurants", "users": "users"}
EXIT_FAILED = 1
EXIT_MISCONFIGURED = 2


def main(arguments: Sequence[str] | None = None) -> int:
    """Run one command and return the process's exit code.

    Returns:
        0 when done or stopped by a signal, 2 for a mistake in the configuration, 1 for any other error.
    """
    parsed = _parser().parse_args(arguments)
    logging.basicConfig(
        level=logging.DEBUG if parsed.verbose else logging.INFO,
        stream=sys.stderr,
        format="%(asctime)s %(levelname)s %(name)s %(message)s",
    )
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


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="python -m producers",
        description="Sources to Kafka. Services and credentials come from the environment, see .env.example.",
    )
    commands = parser.add_subparsers(title="commands", required=True, metavar="COMMAND")

    def command(name: str, text: str, run: Callable[[argparse.Namespace], Any]) -> argparse.ArgumentParser:
        sub = commands.add_parser(name, help=text, description=text)
        sub.add_argument("--report", type=Path, metavar="FILE", help="write the JSON summary here instead of stdout")
        sub.add_argument("--verbose", action="store_true", help="log more")
        sub.set_defaults(run=run)
        return sub

    sub = command("provision", "Create topics, register contracts, announce new versions; may run again.", _provision)
    sub.add_argument("--wait", type=float, default=60.0, metavar="SECONDS", help="for Kafka and registry (default 60)")

    command("check-contracts", "Compare each contract with its released versions; needs no service.", _check_contracts)
    command("release-contracts", "Write each contract that changed as the next released version.", _release_contracts)

    sub = command("shop-init", "Create the shop's schema and fill in users, restaurants and menus.", _shop_init)
    _world_options(sub)

    sub = command("simulate-shop", "Let the shop live: orders arrive and walk on, people and prices change.", _simulate)
    sub.add_argument("--speed", type=float, default=1.0, help="times faster than life (default 1: 480 orders a day)")
    sub.add_argument(
        "--duration", type=float, metavar="SECONDS", help="stop after this long (default: run until stopped)"
    )

    for source, domain in SOURCE_DOMAINS.items():
        text = f"Send {domain} live until stopped, or a history with --replay-days."
        sub = command(source, text, _source)
        sub.set_defaults(source=source)
        sub.add_argument("--duration", type=float, metavar="SECONDS", help="stop after this long")
        if source != "clickstream":
            sub.add_argument("--once", action="store_true", help="one poll, snapshot or increment, then end")
        if source == "restaurants":
            sub.add_argument("--accept-loss", action="store_true", help="with --once: also if most of them are gone")
        sub.add_argument("--replay-days", type=int, metavar="N", help="send the N days before --end instead of living")
        _history_options(sub)

    sub = command("replay", "Send a reproducible history of all sources.", _replay)
    sub.add_argument("--days", type=int, required=True, metavar="N", help="how many days before --end")
    sub.add_argument(
        "--domains",
        nargs="+",
        choices=list(SOURCE_DOMAINS.values()),
        default=list(SOURCE_DOMAINS.values()),
        help="which to send (default all); the shop's past is written for any of the last three",
    )
    _history_options(sub)

    sub = command("late", "Send late events of a date, and correct orders placed on it.", _late)
    sub.add_argument("--date", type=_day, required=True, help="the UTC date, YYYY-MM-DD")
    sub.add_argument("--events", type=int, default=0, metavar="N", help="late events to send")
    sub.add_argument("--orders", type=int, default=0, metavar="N", help="orders to correct in Postgres")
    sub.add_argument("--seed", type=int, default=1, help="another seed gives other events and orders (default 1)")
    return parser


def _world_options(parser: argparse.ArgumentParser) -> None:
    size = WorldSize()
    parser.add_argument(
        "--seed", type=int, default=DEFAULT_SEED, help=f"everything follows from it (default {DEFAULT_SEED})"
    )
    parser.add_argument("--users", type=int, default=size.users, help=f"people (default {size.users})")
    parser.add_argument("--restaurants", type=int, default=size.restaurants, help=f"default {size.restaurants}")
    parser.add_argument("--menu-items", type=int, default=size.menu_items, help=f"of each (default {size.menu_items})")
    parser.add_argument("--cities", type=int, default=size.cities, help=f"default {size.cities}")


def _history_options(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--end", type=_day, metavar="YYYY-MM-DD", help="first day not sent (default: today, UTC)")
    parser.add_argument(
        "--events-per-day",
        type=int,
        default=DEFAULT_EVENTS_PER_DAY,
        metavar="E",
        help=f"unique clickstream events a day (default {DEFAULT_EVENTS_PER_DAY:,}); few make fewer orders too",
    )
    _world_options(parser)


def _day(text: str) -> date:
    try:
        return date.fromisoformat(text)
    except ValueError:
        raise argparse.ArgumentTypeError(f"`{text}` is not a date like 2026-11-23") from None


def _world(parsed: argparse.Namespace) -> World:
    try:
        size = WorldSize(parsed.users, parsed.restaurants, parsed.menu_items, parsed.cities)
    except ValueError as error:
        raise ConfigurationError(f"The sizes of the world do not fit: {error}.") from None
    return World(parsed.seed, size)


def _environment() -> tuple[Settings, Catalog]:
    configured = settings()
    return configured, load_catalog(configured.domains_file)


def _provision(parsed: argparse.Namespace) -> dict[str, Any]:
    from producers.provision import provision

    configured, catalog = _environment()
    return {"command": "provision", **provision(configured, catalog, wait_seconds=parsed.wait).to_json()}


def _check_contracts(parsed: argparse.Namespace) -> dict[str, Any]:
    from platform_core.domain.released_contracts import check_release

    catalog = load_catalog(settings().domains_file)
    versions = {release.domain: release.version for release in map(check_release, catalog)}
    return {
        "command": "check-contracts",
        "released": {name: version for name, version in versions.items() if version},
        "never_released": [name for name, version in versions.items() if not version],
    }


def _release_contracts(parsed: argparse.Namespace) -> dict[str, Any]:
    from platform_core.domain.released_contracts import release

    catalog = load_catalog(settings().domains_file)
    releases = [release(domain) for domain in catalog]
    return {
        "command": "release-contracts",
        "released": {release.domain: release.version for release in releases},
        "written": [str(release.written) for release in releases if release.written],
    }


def _shop_init(parsed: argparse.Namespace) -> dict[str, Any]:
    from producers.shop.database import connect
    from producers.shop.seed import seed_shop

    world = _world(parsed)
    connection = connect(settings(), application="pdp-shop-init")
    try:
        seed_shop(connection, world)
    finally:
        connection.close()
    size = world.size
    return {"command": "shop-init", "seed": world.seed, "users": size.users, "restaurants": size.restaurants}


def _simulate(parsed: argparse.Namespace) -> dict[str, Any]:
    from producers.live import run_shop

    if parsed.speed <= 0:
        raise ConfigurationError("`--speed` must be greater than 0.")
    return {
        "command": "simulate-shop",
        **run_shop(settings(), Stop(parsed.duration).on_signals(), speed=parsed.speed),
    }


def _source(parsed: argparse.Namespace) -> dict[str, Any]:
    domain = SOURCE_DOMAINS[parsed.source]
    if parsed.replay_days is not None:
        return _send_history(parsed, parsed.replay_days, [domain])
    from producers import live

    configured, catalog = _environment()
    stop = Stop(parsed.duration).on_signals()
    if parsed.source == "clickstream":
        receipt = live.run_clickstream(configured, catalog, stop)
    elif parsed.source == "restaurants":
        if parsed.accept_loss and not parsed.once:
            raise ConfigurationError("`--accept-loss` is for one snapshot: use it with `--once`.")
        receipt = live.run_restaurants(configured, catalog, stop, once=parsed.once, accept_loss=parsed.accept_loss)
    else:
        run = {"orders": live.run_orders, "users": live.run_users}[parsed.source]
        receipt = run(configured, catalog, stop, once=parsed.once)
    return {
        "command": parsed.source,
        "domains": {
            domain: {
                "produced": receipt.total,
                "by_date": dict(receipt.delivered),
                "refused": receipt.refused,
            }
        },
    }


def _replay(parsed: argparse.Namespace) -> dict[str, Any]:
    return _send_history(parsed, parsed.days, parsed.domains)


def _send_history(parsed: argparse.Namespace, days: int, domains: list[str]) -> dict[str, Any]:
    from producers.history.replay import Plan, replay

    configured, catalog = _environment()
    plan = Plan.before(parsed.end or datetime.now(UTC).date(), days, parsed.events_per_day, domains)
    return replay(configured, catalog, _world(parsed), plan)


def _late(parsed: argparse.Namespace) -> dict[str, Any]:
    from producers.history.late import send_late

    configured, catalog = _environment()
    return send_late(configured, catalog, parsed.date, events=parsed.events, orders=parsed.orders, seed=parsed.seed)
