"""What the last snapshot of restaurants held: the only way to see that one has vanished since.

Comparing two snapshots belongs here, and refusing one that has lost too much; asking and sending belongs to
`producers.restaurants`. A snapshot has no tombstones, so absence is the message: docs/architecture.md.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from platform_core.errors import PermanentError

# Restaurants close one by one. Half of them gone within an hour is a restore, a filter or an empty replica.
MIN_KEPT_RATIO = 0.5

Documents = Mapping[str, dict[str, Any]]


class SnapshotRefusedError(PermanentError):
    """A snapshot lacks more than it may; nothing of it was sent or remembered."""


@dataclass(frozen=True)
class Size:
    """What a snapshot counts.

    Attributes:
        restaurants: Those that are not deleted.
        menu_items: Items on their menus.
    """

    restaurants: int
    menu_items: int

    @classmethod
    def of(cls, documents: Documents) -> Size:
        """Count a snapshot."""
        live = [document for document in documents.values() if document["deleted_at"] is None]
        return cls(len(live), sum(len(document["menu_items"]) for document in live))


def refuse_a_loss(before: Documents, now: Documents) -> None:
    """Compare the sizes of two snapshots; the first one has nothing to be compared with.

    Args:
        before: The last snapshot that was sent, by restaurant.
        now: The one that is to be sent.

    Raises:
        SnapshotRefusedError: it has less than half of the restaurants or of the menu items.
    """
    old, new = Size.of(before), Size.of(now)
    restaurants_lost = new.restaurants < old.restaurants * MIN_KEPT_RATIO
    menu_items_lost = new.menu_items < old.menu_items * MIN_KEPT_RATIO
    if restaurants_lost or menu_items_lost:
        raise SnapshotRefusedError(
            f"The snapshot has {new.restaurants:,} restaurants and {new.menu_items:,} menu items, the last one had"
            f" {old.restaurants:,} and {old.menu_items:,}. Nothing was sent: less than half is rarely meant. Look at"
            " the tables `restaurants` and `menu_items`; if it is meant, run `python -m producers restaurants --once"
            " --accept-loss`.",
            restaurants=new.restaurants,
            menu_items=new.menu_items,
            restaurants_before=old.restaurants,
            menu_items_before=old.menu_items,
        )


def vanished(before: Documents, now: Documents, at: str) -> list[dict[str, Any]]:
    """Return the last documents of restaurants that are no longer there, as deleted.

    Args:
        before: The last snapshot that was sent, by restaurant.
        now: The present one.
        at: Its time, as a record has it; when a restaurant was deleted before it vanished, that time stays.
    """
    return [
        {**document, "deleted_at": document["deleted_at"] or at} for key, document in before.items() if key not in now
    ]


def removed_items(before: Documents, now: Documents) -> dict[str, list[int]]:
    """Return the menu items that restaurants no longer have, by restaurant."""
    removed = {}
    for key, document in now.items():
        present = _items(document)
        gone = sorted(_items(before[key]) - present) if key in before else []
        if gone:
            removed[key] = gone
    return removed


def _items(document: dict[str, Any]) -> set[int]:
    return {item["menu_item_id"] for item in document["menu_items"]}
