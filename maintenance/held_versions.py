"""Which old versions of Gold somebody still needs: the 'before' of each correction that is not done yet.

A date's first attempt notes them in its transition; a date that is DEAD may wait for months until somebody resets it,
and its correction compares with them then.
"""

from __future__ import annotations

from collections import defaultdict

from platform_core.domain.catalog import Domain
from platform_core.partitions.partition_meta import PartitionMetaReader, gold_before
from platform_core.partitions.partition_state import State

_WITHOUT_AN_ATTEMPT = frozenset({State.UNDISCOVERED, State.DONE, State.LATE})
"""States in which nothing was tried since the date was last DONE: its 'before' is the newest version."""


def held_versions(domain: Domain, partitions: PartitionMetaReader) -> dict[str, set[int]]:
    """Return the versions of each Gold table that a waiting correction will compare with.

    Raises:
        TransientError: partition_meta did not answer.
    """
    held: defaultdict[str, set[int]] = defaultdict(set)
    # Whole rows of the few dates that wait: those of years of dates cost a night as much as it does with a table.
    waiting = [day for (_, day), state in partitions.states(domain.name).items() if state not in _WITHOUT_AN_ATTEMPT]
    for row in partitions.rows(domain.name, waiting):
        if row.processed_at is None or row.status in _WITHOUT_AN_ATTEMPT:
            continue
        before = gold_before(partitions.history(row.domain, row.partition_date)) or {}
        for table, version in before.items():
            held[table].add(version)
    return dict(held)
