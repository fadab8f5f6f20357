"""Which letters were sent back or parked: one record a letter on `dlq-<topic>-redriven`.

Only what the records mean belongs here; when one is written is decided in `pdp.actions.dead_letters.redrive`. A topic
is used and not a consumer group's offset, because a redrive may select any letters and an offset only says "all before
this".
"""

from __future__ import annotations

import json
from dataclasses import dataclass
from datetime import datetime
from enum import StrEnum

from pdp.actions.dead_letters.reader import Letter
from platform_core.domain.catalog import Domain
from platform_kafka.reader import OperatorKafka
from platform_kafka.topics import redriven_name


class Fate(StrEnum):
    """What became of a letter; the last word counts."""

    SENT = "sent"
    PARKED = "parked"


@dataclass(frozen=True)
class RedriveEntry:
    """One record of the ledger, as bytes.

    Attributes:
        key: The letter's identity.
        value: A JSON document for people and for `fates`.
    """

    key: bytes
    value: bytes


def entry(letter: Letter, fate: Fate, at: datetime, operator: str) -> RedriveEntry:
    """Return the record that says what became of a letter."""
    document = {"fate": fate, "letter": letter.place, "at": at.isoformat(), "by": operator}
    return RedriveEntry(letter.identity.encode(), json.dumps(document).encode())


def fates(kafka: OperatorKafka, domain: Domain) -> dict[str, Fate]:
    """Return what became of a domain's letters, by `Letter.identity`; one that is missing is still open.

    Raises:
        PermanentError: the ledger's topic does not exist.
        TransientError: Kafka does not answer.
    """
    partitions = kafka.partitions(redriven_name(domain))
    bounds = kafka.bounds(partitions)
    result: dict[str, Fate] = {}
    starts, ends = ({where: getattr(bounds[where], end) for where in partitions} for end in ("begin", "end"))
    for message in kafka.read(starts, ends):
        key, value = message.key(), message.value()
        if key is None or value is None:
            continue
        try:
            result[key.decode()] = Fate(json.loads(value)["fate"])
        except (ValueError, KeyError, TypeError):
            continue  # not written by a redrive; a letter is rather sent twice than never
    return result
