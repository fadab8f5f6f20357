"""The command line of the producers: arguments to calls.

Only parsing and wiring belong here; what every command shares is in `producers.command_line`, and what fills or
moves the simulated shop is `python -m simulation`.
"""

from __future__ import annotations

import argparse
from collections.abc import Sequence
from typing import Any

from platform_core.domain.catalog import load_catalog
from platform_core.errors import ConfigurationError
from platform_core.settings import settings
from producers.command_line import CommandLine, environment
from producers.running import Stop

SOURCE_DOMAINS = {"clickstream": "events", "orders": "orders", "restaurants": "restaurants", "users": "users"}


def main(arguments: Sequence[str] | None = None) -> int:
    """Run one command and return the process's exit code."""
    return _commands().main(arguments)


def _commands() -> CommandLine:
    line = CommandLine(
        "python -m producers",
        "Sources to Kafka. Services and credentials come from the environment, see .env.example.",
    )
    command = line.command

    sub = command("provision", "Create topics, register contracts, announce new versions; may run again.", _provision)
    sub.add_argument("--wait", type=float, default=60.0, metavar="SECONDS", help="for Kafka and registry (default 60)")

    command("check-contracts", "Compare each contract with its released versions; needs no service.", _check_contracts)
    command("release-contracts", "Write each contract that changed as the next released version.", _release_contracts)

    for source, domain in SOURCE_DOMAINS.items():
        text = f"Send {domain} live until stopped."
        sub = command(source, text, _source)
        sub.set_defaults(source=source)
        sub.add_argument("--duration", type=float, metavar="SECONDS", help="stop after this long")
        if source != "clickstream":
            sub.add_argument("--once", action="store_true", help="one poll, snapshot or increment, then end")
        if source == "restaurants":
            sub.add_argument("--accept-loss", action="store_true", help="with --once: also if most of them are gone")
    return line


def _provision(parsed: argparse.Namespace) -> dict[str, Any]:
    from platform_kafka.provision import provision

    configured, catalog = environment()
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


def _source(parsed: argparse.Namespace) -> dict[str, Any]:
    domain = SOURCE_DOMAINS[parsed.source]
    from producers import live

    configured, catalog = environment()
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
