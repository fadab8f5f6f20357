"""The command line of the simulated shop and its past: arguments to calls.

Only parsing and wiring belong here; what every command shares is in `producers.command_line`.
"""

from __future__ import annotations

import argparse
from collections.abc import Sequence
from datetime import UTC, date, datetime
from typing import Any

from platform_core.errors import ConfigurationError
from platform_core.settings import settings
from producers.command_line import CommandLine, environment
from producers.running import Stop
from simulation.world import SOURCES, World, WorldSize

DEFAULT_SEED = 7
DEFAULT_EVENTS_PER_DAY = 860_000


def main(arguments: Sequence[str] | None = None) -> int:
    """Run one command and return the process's exit code."""
    return _commands().main(arguments)


def _commands() -> CommandLine:
    line = CommandLine(
        "python -m simulation",
        "The shop that the platform reads, and its past. Services and credentials come from the environment.",
    )
    command = line.command

    sub = command("shop-init", "Create the shop's schema and fill in users, restaurants and menus.", _shop_init)
    _world_options(sub)

    sub = command("simulate-shop", "Let the shop live: orders arrive and walk on, people and prices change.", _simulate)
    sub.add_argument("--speed", type=float, default=1.0, help="times faster than life (default 1: 480 orders a day)")
    sub.add_argument(
        "--duration", type=float, metavar="SECONDS", help="stop after this long (default: run until stopped)"
    )

    sub = command("replay", "Send a reproducible history of all sources.", _replay)
    sub.add_argument("--days", type=int, required=True, metavar="N", help="how many days before --end")
    sub.add_argument(
        "--domains",
        nargs="+",
        choices=SOURCES,
        default=SOURCES,
        help="which to send (default all); the shop's past is written for any of the last three",
    )
    _history_options(sub)

    sub = command("late", "Send late events of a date, and correct orders placed on it.", _late)
    sub.add_argument("--date", type=_day, required=True, help="the UTC date, YYYY-MM-DD")
    sub.add_argument("--events", type=int, default=0, metavar="N", help="late events to send")
    sub.add_argument("--orders", type=int, default=0, metavar="N", help="orders to correct in Postgres")
    sub.add_argument("--seed", type=int, default=1, help="another seed gives other events and orders (default 1)")
    return line


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


def _shop_init(parsed: argparse.Namespace) -> dict[str, Any]:
    from producers.postgres.database import connect
    from simulation.shop.seed import seed_shop

    world = _world(parsed)
    connection = connect(settings(), application="pdp-shop-init")
    try:
        seed_shop(connection, world)
    finally:
        connection.close()
    size = world.size
    return {"command": "shop-init", "seed": world.seed, "users": size.users, "restaurants": size.restaurants}


def _simulate(parsed: argparse.Namespace) -> dict[str, Any]:
    from simulation.live import run_shop

    if parsed.speed <= 0:
        raise ConfigurationError("`--speed` must be greater than 0.")
    return {
        "command": "simulate-shop",
        **run_shop(settings(), Stop(parsed.duration).on_signals(), speed=parsed.speed),
    }


def _replay(parsed: argparse.Namespace) -> dict[str, Any]:
    from simulation.history.replay import Plan, replay

    configured, catalog = environment()
    plan = Plan.before(parsed.end or datetime.now(UTC).date(), parsed.days, parsed.events_per_day, parsed.domains)
    return replay(configured, catalog, _world(parsed), plan)


def _late(parsed: argparse.Namespace) -> dict[str, Any]:
    from simulation.history.late import send_late

    configured, catalog = environment()
    return send_late(configured, catalog, parsed.date, events=parsed.events, orders=parsed.orders, seed=parsed.seed)
