"""Which dead letters were sent back or parked: one record each on `dlq-<topic>-redriven`.

Only what the records mean belongs here; when one is written is decided in `pdp.actions.dead_letters.redrive`. A topic
is used and not a consumer group's offset, because a redrive may select any dead letters and an offset only says "all
before this".
"""

from __future__ import annotations

import json
from datetime import datetime
from enum import StrEnum

from pdp.actions.dead_letters.reader import DeadLetter
from platform_core.domain.catalog import Domain
from platform_kafka.reader import OperatorKafka
from platform_kafka.topics import redriven_name


class Fate(StrEnum):
    """What became of a dead letter; the last word counts."""

    SENT = "sent"
    PARKED = "parked"


def ledger_value(dead_letter: DeadLetter, fate: Fate, at: datetime, operator: str) -> bytes:
    """Return the value of the record that says what became of a dead letter; its key is the identity."""
    document = {"fate": fate, "letter": dead_letter.address, "at": at.isoformat(), "by": operator}
    return json.dumps(document).encode()


def fates(kafka: OperatorKafka, domain: Domain) -> dict[str, Fate]:
    """Return what became of a domain's dead letters, by identity; one that is missing is still open.

    Raises:
        PermanentError: the ledger's topic does not exist.
        TransientError: Kafka does not answer.
    """
    bounds = kafka.bounds(kafka.partitions(redriven_name(domain)))
    result: dict[str, Fate] = {}
    starts, ends = ({tp: getattr(bounds[tp], end) for tp in bounds} for end in ("begin", "end"))
    for message in kafka.read(starts, ends):
        key, value = message.key(), message.value()
        if key is None or value is None:
            continue
        try:
            result[key.decode()] = Fate(json.loads(value)["fate"])
        except (ValueError, KeyError, TypeError):
            continue  # not written by a redrive; a dead letter is rather sent twice than never
    return result
