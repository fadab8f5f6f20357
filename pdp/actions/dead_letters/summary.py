"""Dead letters counted: by error class, with how many were sent back since.

Only counting belongs here; a dead letter is read by `pdp.actions.dead_letters.reader`, its fate by
`pdp.actions.dead_letters.redrive_ledger`. Two dead letters of one refusal, which a killed sink leaves behind, count
once, as the sink promises at-least-once.
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime

from pdp.actions.dead_letters import redrive_ledger
from pdp.actions.dead_letters.reader import dead_letters
from pdp.actions.dead_letters.redrive_ledger import Fate
from platform_core.domain.catalog import Domain
from platform_kafka.reader import OperatorKafka
from platform_kafka.topics import redriven_name


@dataclass
class ErrorClassCounts:
    """The dead letters of one error class.

    Attributes:
        dead_letters: How many refusals.
        first: When the oldest one was, UTC.
        last: When the newest one was, UTC.
        redriven: How many were sent back.
        parked: How many were put aside.
    """

    error_class: str
    dead_letters: int = 0
    first: datetime | None = None
    last: datetime | None = None
    redriven: int = 0
    parked: int = 0

    @property
    def open(self) -> int:
        """Dead letters that wait for a person."""
        return self.dead_letters - self.redriven - self.parked


def summarise(
    kafka: OperatorKafka, domain: Domain, *, since: datetime | None = None, error: str | None = None
) -> list[ErrorClassCounts]:
    """Return the counts of a domain's dead letters, most frequent first.

    Args:
        since: Leave out what was refused before.
        error: Only this error class.

    Raises:
        PermanentError: the dead-letter topic does not exist.
        TransientError: Kafka does not answer.
    """
    done = redrive_ledger.fates(kafka, domain) if redriven_name(domain) in kafka.topics else {}
    result: dict[str, ErrorClassCounts] = {}
    seen: set[str] = set()
    for dead_letter in dead_letters(kafka, domain, since=since):
        if error not in (None, dead_letter.error_class) or dead_letter.identity in seen:
            continue
        seen.add(dead_letter.identity)
        counts = result.setdefault(dead_letter.error_class, ErrorClassCounts(dead_letter.error_class))
        counts.dead_letters += 1
        fate = done.get(dead_letter.identity)
        counts.redriven += fate is Fate.SENT
        counts.parked += fate is Fate.PARKED
        if dead_letter.at is not None:
            counts.first = min(counts.first or dead_letter.at, dead_letter.at)
            counts.last = max(counts.last or dead_letter.at, dead_letter.at)
    return sorted(result.values(), key=lambda counts: (-counts.dead_letters, counts.error_class))
