"""Dead letters counted: by error class, with how many were sent back since.

Only counting belongs here; a letter is read by `pdp.actions.dead_letters.reader`, its fate by
`pdp.actions.dead_letters.redrive_ledger`. Two letters of one refusal, which a killed sink leaves behind, count once, as
the sink promises at-least-once.
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime

from pdp.actions.dead_letters import reader, redrive_ledger
from pdp.actions.dead_letters.redrive_ledger import Fate
from platform_core.domain.catalog import Domain
from platform_kafka.reader import OperatorKafka
from platform_kafka.topics import redriven_name


@dataclass
class ClassSummary:
    """The letters of one error class.

    Attributes:
        error_class: Why the records were refused.
        letters: How many refusals.
        first: When the oldest one was, UTC.
        last: When the newest one was, UTC.
        redriven: How many were sent back.
        parked: How many were put aside.
    """

    error_class: str
    letters: int = 0
    first: datetime | None = None
    last: datetime | None = None
    redriven: int = 0
    parked: int = 0

    @property
    def open(self) -> int:
        """Letters that wait for a person."""
        return self.letters - self.redriven - self.parked


def summarise(
    kafka: OperatorKafka, domain: Domain, *, since: datetime | None = None, error: str | None = None
) -> list[ClassSummary]:
    """Return the counts of a domain's letters, most frequent first.

    Args:
        since: Leave out what was refused before.
        error: Only this error class.

    Raises:
        PermanentError: the dead-letter topic does not exist.
        TransientError: Kafka does not answer.
    """
    done = redrive_ledger.fates(kafka, domain) if redriven_name(domain) in kafka.topics else {}
    result: dict[str, ClassSummary] = {}
    seen: set[str] = set()
    for letter in reader.letters(kafka, domain, since=since):
        if error not in (None, letter.error_class) or letter.identity in seen:
            continue
        seen.add(letter.identity)
        counts = result.setdefault(letter.error_class, ClassSummary(letter.error_class))
        counts.letters += 1
        fate = done.get(letter.identity)
        counts.redriven += fate is Fate.SENT
        counts.parked += fate is Fate.PARKED
        if letter.at is not None:
            counts.first = min(counts.first or letter.at, letter.at)
            counts.last = max(counts.last or letter.at, letter.at)
    return sorted(result.values(), key=lambda counts: (-counts.letters, counts.error_class))
