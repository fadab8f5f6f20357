"""The command line of the producers: arguments to calls.

Each domain with a source has a command. Only parsing and wiring belong here; what every command shares is in
`producers.command_line`, and what fills or moves the simulated shop is `python -m simulation`.
"""

from __future__ import annotations

import argparse
import logging
import sys
from collections.abc import Sequence
from dataclasses import asdict
from typing import Any

from platform_core.domain.catalog import Catalog, configured_catalog
from platform_core.domain.source import PostgresSnapshot, PostgresTable
from platform_core.errors import ConfigurationError
from platform_core.settings import settings
from producers.command_line import EXIT_MISCONFIGURED, CommandLine, environment
from producers.running import Stop

log = logging.getLogger(__name__)


def main(arguments: Sequence[str] | None = None) -> int:
    """Run one command and return the process's exit code."""
    try:
        catalog = configured_catalog(settings())
    except ConfigurationError as error:
        print(f"error: {error.message}", file=sys.stderr)  # noqa: T201 - a person reads this line
        return EXIT_MISCONFIGURED
    return _commands(catalog).main(arguments)


def _commands(catalog: Catalog) -> CommandLine:
    line = CommandLine(
        "python -m producers",
        "Sources to Kafka. Services and credentials come from the environment, see .env.example.",
    )
    command = line.command

    sub = command("provision", "Create topics, register contracts, announce new versions; may run again.", _provision)
    sub.add_argument("--wait", type=float, default=60.0, metavar="SECONDS", help="for Kafka and registry (default 60)")
    lower = "set back a retention or a record size that was raised on a topic; records may be lost"
    sub.add_argument("--lower", action="store_true", help=lower)

    text = "Give each role's user in Kafka its rights, as the admin; may run again. See docs/operations.md."
    sub = command("grant-access", text, _grant_access)
    sub.add_argument("--wait", type=float, default=60.0, metavar="SECONDS", help="for Kafka (default 60)")

    text = "Check domains.yaml and its packages, and compare contracts with their released versions; needs no service."
    command("check-contracts", text, _check_contracts)
    command("release-contracts", "Write each contract that changed as the next released version.", _release_contracts)

    for domain in catalog.with_source:
        sub = command(domain.command, f"Send {domain.name} live until stopped.", _source)
        sub.set_defaults(domain=domain.name, once=False, accept_loss=False)
        sub.add_argument("--duration", type=float, metavar="SECONDS", help="stop after this long")
        if isinstance(domain.source, PostgresTable):
            sub.add_argument("--once", action="store_true", help="one poll, snapshot or increment, then end")
        if isinstance(domain.source, PostgresSnapshot):
            sub.add_argument("--accept-loss", action="store_true", help="with --once: also if most rows are gone")
    for name in catalog.broken:
        command(name, f"Cannot run: the entry of {name} has a mistake.", _source).set_defaults(domain=name)
    return line


def _provision(parsed: argparse.Namespace) -> dict[str, Any]:
    from platform_kafka.provision import provision

    configured, catalog = environment()
    for name, error in catalog.broken.items():
        log.error("domain_broken domain=%s error=%s", name, error)
    return {
        "command": "provision",
        **asdict(provision(configured, catalog, wait_seconds=parsed.wait, lower=parsed.lower)),
        "broken": catalog.broken,
    }


def _grant_access(parsed: argparse.Namespace) -> dict[str, Any]:
    from platform_kafka.access import grant

    configured, catalog = environment()
    return {"command": "grant-access", "operations": grant(configured, catalog, wait_seconds=parsed.wait)}


def _check_contracts(parsed: argparse.Namespace) -> dict[str, Any]:
    from platform_core.domain.catalog_checks import refuse_unreadable
    from platform_core.domain.released_contracts import check_release

    catalog = (
        configured_catalog(settings())
        .checked(refuse_unreadable)
        .checked(lambda domain: domain.gold_tables)
        .require_whole()
    )
    versions = {release.domain: release.version for release in map(check_release, catalog)}
    return {
        "command": "check-contracts",
        "released": {name: version for name, version in versions.items() if version},
        "never_released": [name for name, version in versions.items() if not version],
    }


def _release_contracts(parsed: argparse.Namespace) -> dict[str, Any]:
    from platform_core.domain.released_contracts import release

    catalog = configured_catalog(settings()).require_whole()
    releases = [release(domain) for domain in catalog]
    return {
        "command": "release-contracts",
        "released": {release.domain: release.version for release in releases},
        "written": [str(release.written) for release in releases if release.written],
    }


def _source(parsed: argparse.Namespace) -> dict[str, Any]:
    from producers.live import run_source

    configured, catalog = environment()
    domain = catalog[parsed.domain]
    stop = Stop(parsed.duration).on_signals()
    receipt = run_source(configured, domain, stop, once=parsed.once, accept_loss=parsed.accept_loss)
    return {
        "command": domain.command,
        "domains": {
            domain.name: {
                "produced": receipt.total,
                "by_date": dict(receipt.delivered),
                "refused": receipt.refused,
            }
        },
    }
