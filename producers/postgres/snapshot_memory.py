"""What the last snapshot of a table held: the only way to see that a row has vanished since.

Comparing two snapshots belongs here, and refusing one that has lost too much; asking and sending belongs to
`producers.postgres.snapshot`. A snapshot has no tombstones, so absence is the message: docs/architecture.md.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from platform_core.domain.catalog import Domain
from platform_core.domain.source import PostgresSnapshot
from platform_core.errors import PermanentError

# Rows of such a table go one by one. Half of them gone within an hour is a restore, a filter or an empty replica.
MIN_KEPT_RATIO = 0.5

Documents = Mapping[str, dict[str, Any]]


class SnapshotRefusedError(PermanentError):
    """A snapshot lacks more than it may; nothing of it was sent or remembered."""


def documents_of(domain: Domain, saved: Mapping[str, Any] | None) -> Documents:
    """Return the documents of the last snapshot by key, none before the first.

    Args:
        domain: Whose snapshot it is; the file has the documents under its name.
        saved: What the file holds.
    """
    documents: Documents = (saved or {}).get(domain.name, {})
    return documents


def sizes(source: PostgresSnapshot, name: str, documents: Documents) -> dict[str, int]:
    """Count the rows that are not deleted, and the elements of each of their parts.

    Args:
        source: What the snapshot is of.
        name: What its rows are called.
        documents: The snapshot by key.
    """
    live = [document for document in documents.values() if document[source.deleted_at] is None]
    return {name: len(live), **{part: sum(_length(document[part]) for document in live) for part in source.parts}}


def _length(part: object) -> int:
    # What is no list breaks the contract, and its record is refused by itself.
    return len(part) if isinstance(part, list) else 0


def refuse_a_loss(domain: Domain, before: Documents, now: Documents) -> None:
    """Compare the sizes of two snapshots; the first one has nothing to be compared with.

    Args:
        domain: Whose snapshots they are.
        before: The last snapshot that was sent, by key.
        now: The one that is to be sent.

    Raises:
        SnapshotRefusedError: it has less than half of the rows or of the elements of a part.
    """
    source = domain.source
    assert isinstance(source, PostgresSnapshot)
    old, new = sizes(source, domain.name, before), sizes(source, domain.name, now)
    if any(new[name] < old[name] * MIN_KEPT_RATIO for name in old):
        has = " and ".join(f"{count:,} {name.replace('_', ' ')}" for name, count in new.items())
        had = " and ".join(f"{count:,}" for count in old.values())
        raise SnapshotRefusedError(
            f"The snapshot has {has}, the last one had {had}. Nothing was sent: less than half is rarely meant. Look at"
            f" table `{source.table}`; if it is meant, run `python -m producers {domain.command} --once"
            " --accept-loss`.",
        )


def vanished(before: Documents, now: Documents, at: str, deleted_at: str) -> list[dict[str, Any]]:
    """Return the last documents of rows that are no longer there, as deleted.

    Args:
        before: The last snapshot that was sent, by key.
        now: The present one.
        at: Its time, as a record has it; when a row was deleted before it vanished, that time stays.
        deleted_at: The field that marks a deleted row.
    """
    return [{**document, deleted_at: document[deleted_at] or at} for key, document in before.items() if key not in now]
