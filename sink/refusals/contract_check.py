"""Whether this sink's contracts can read what the registry says producers write, asked once at its start.

A sink that starts with a contract that broke compatibility would send every record to the dead letters. The rules are
`platform_core.domain.contract_compatibility`; the registry's absence is no reason not to start, because decoding needs
none.
"""

from __future__ import annotations

import logging
from collections.abc import Iterable

from platform_core.domain.catalog import Domain
from platform_core.domain.released_contracts import require_compatible
from platform_core.errors import ConfigurationError, TransientError
from platform_core.settings import Settings
from platform_kafka.registered_versions import registered_versions
from platform_kafka.topics import subject_name

log = logging.getLogger(__name__)


def check_contracts(settings: Settings, domains: Iterable[Domain]) -> dict[str, ConfigurationError]:
    """Compare each domain's contract with every registered version.

    Returns:
        Why a domain's records must not be read, by its name; the message names the properties.
    """
    unreadable: dict[str, ConfigurationError] = {}
    for domain in domains:
        try:
            # Without a second try: a registry that is away must not hold up the start.
            versions = registered_versions(settings, subject_name(domain))
        except TransientError as error:
            log.warning("contracts_unchecked domain=%s error=%s", domain.name, error)
            break
        try:
            require_compatible(domain, versions)
        except ConfigurationError as incompatible:
            unreadable[domain.name] = incompatible
        else:
            log.info("contract_checked domain=%s registered_versions=%d", domain.name, len(versions))
    return unreadable
