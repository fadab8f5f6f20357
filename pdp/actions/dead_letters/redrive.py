"""Dead letters sent back to their raw topic, so that the sink reads them again after the cause was mended.

Which dead letters, in what order, and what a crash may do is decided here; reading them is
`pdp.actions.dead_letters.reader`, what was done before is `pdp.actions.dead_letters.redrive_ledger`. The ledger records
of a batch follow the broker's acks, so a kill between the two sends the batch once more: at most `BATCH` dead letters,
of which Silver keeps one row by business key.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable
from contextlib import ExitStack
from dataclasses import dataclass, field
from datetime import datetime

from pdp.actions.dead_letters import redrive_ledger, redrive_lock
from pdp.actions.dead_letters.reader import DeadLetter, dead_letters
from pdp.actions.dead_letters.redrive_ledger import Fate
from pdp.actions.dead_letters.redrive_sender import Outgoing, Sender
from platform_core.domain.catalog import Domain
from platform_core.errors import PermanentError
from platform_core.settings import Settings
from platform_kafka.formats.dead_letter_headers import DEFAULT_MAX_ATTEMPTS
from platform_kafka.reader import OperatorKafka
from platform_kafka.topics import dlq_name, parked_name, redriven_name

KEPT_FAILURES = 1_000

BATCH = 500
"""Dead letters in flight: enough for 10,000 a second and few enough to send twice after a kill."""

BATCH_BYTES = 32 * 1_048_576
"""A quarter of what the producer may hold, so that its queue is never full."""


@dataclass(frozen=True)
class Selection:
    """Which dead letters are meant.

    Attributes:
        since: Only those that were refused at this time or later.
        error: Only those of this error class.
        limit: At most so many that are not done yet; the oldest first.
    """

    since: datetime | None = None
    error: str | None = None
    limit: int | None = None


@dataclass(frozen=True)
class Unsent:
    """A dead letter that could not be sent, and why."""

    letter: str
    origin: str
    reason: str


@dataclass
class RedriveResult:
    """What a redrive did; in a dry run, what it would do.

    Attributes:
        topic: The raw topic that the dead letters went to.
        dry_run: Whether nothing was sent.
        sent: Dead letters sent back.
        parked: Dead letters refused too often, put aside in `dlq-<topic>-parked`.
        skipped: Dead letters that an earlier redrive has done, and second ones of one refusal.
        unreadable: Dead letters that could not be sent.
        failures: The first of those, with the reason.
        error_classes: Dead letters by error class among all that were read, to answer a filter that matched none.
    """

    domain: str
    topic: str
    dry_run: bool
    sent: int = 0
    parked: int = 0
    skipped: int = 0
    unreadable: int = 0
    failures: list[Unsent] = field(default_factory=list)
    error_classes: Counter[str] = field(default_factory=Counter)

    def failed(self, dead_letter: DeadLetter, reason: str) -> None:
        """Count a dead letter that could not be sent."""
        self.unreadable += 1
        if len(self.failures) < KEPT_FAILURES:
            self.failures.append(Unsent(dead_letter.address, dead_letter.origin, reason))


def redrive(
    settings: Settings,
    domain: Domain,
    selection: Selection | None = None,
    *,
    operator: str,
    now: Callable[[], datetime],
    max_attempts: int = DEFAULT_MAX_ATTEMPTS,
    dry_run: bool = False,
    batch_size: int = BATCH,
    progress: Callable[[str], None] = lambda _: None,
) -> RedriveResult:
    """Send dead letters back, each once, however often this is called.

    Args:
        selection: Which dead letters; all by default.
        operator: Who asks, for the ledger.
        now: The current time, UTC.
        max_attempts: A dead letter that was refused so often is parked instead. One that was parked is sent after all
            when a later call allows more.
        dry_run: Whether to only count.
        batch_size: Dead letters in flight, which a crash may send twice.
        progress: Called after each batch with how many were handled.

    Raises:
        ConfigurationError: the cluster refuses the credentials.
        PermanentError: a topic is missing; `python -m producers provision` creates it.
        TransientError: Kafka does not answer, or another redrive of the domain runs. Calling again goes on.
    """
    wanted = selection or Selection()
    result = RedriveResult(domain.name, domain.topic.name, dry_run)
    batch: list[Outgoing] = []
    with ExitStack() as stack:
        kafka = stack.enter_context(OperatorKafka(settings))
        for topic in (domain.topic.name, dlq_name(domain), parked_name(domain), redriven_name(domain)):
            kafka.partitions(topic)
        keep: Callable[[], None] = lambda: None  # noqa: E731 - a dry run needs no lock
        sender: Sender | None = None
        if not dry_run:
            keep = stack.enter_context(redrive_lock.exclusive(kafka.client_config(), redriven_name(domain)))
            sender = Sender(kafka.client_config(), domain, operator, now)

        def send() -> None:
            for dead_letter, reason in sender.send(batch) if sender else ():
                result.failed(dead_letter, reason)
                batch[:] = [each for each in batch if each.dead_letter is not dead_letter]
            result.sent += sum(each.fate is Fate.SENT for each in batch)
            result.parked += sum(each.fate is Fate.PARKED for each in batch)
            batch.clear()
            progress(f"{result.sent + result.parked + result.skipped + result.unreadable:,} dead letters")

        done, batch_bytes = redrive_ledger.fates(kafka, domain), 0
        for dead_letter in dead_letters(kafka, domain, since=wanted.since):
            keep()
            result.error_classes[dead_letter.error_class] += 1
            if wanted.error not in (None, dead_letter.error_class):
                continue
            handled = result.sent + result.parked + result.unreadable + len(batch)
            if wanted.limit is not None and handled >= wanted.limit:
                break
            fate = Fate.PARKED if dead_letter.attempt >= max_attempts else Fate.SENT
            if done.get(dead_letter.identity) in (Fate.SENT, fate):
                result.skipped += 1
                continue
            try:
                value = _value(kafka, dead_letter, fate)
            except PermanentError as error:
                result.failed(dead_letter, error.message)
                continue
            done[dead_letter.identity] = fate
            batch.append(Outgoing(dead_letter, fate, value))
            batch_bytes += len(value or b"")
            if len(batch) >= batch_size or batch_bytes >= BATCH_BYTES:
                send()
                batch_bytes = 0
        send()
    return result


def _value(kafka: OperatorKafka, dead_letter: DeadLetter, fate: Fate) -> bytes | None:
    """Return the value to send: one that was omitted is taken from the raw topic."""
    refusal, size = dead_letter.refusal, dead_letter.refusal.omitted_bytes
    if fate is Fate.PARKED or size is None:
        return dead_letter.message.value()
    tp = (refusal.topic, refusal.partition)
    if tp not in kafka.partitions(refusal.topic):
        raise PermanentError(f"The dead letter has no value, and {dead_letter.origin} does not exist.")
    if refusal.offset < kafka.bounds([tp])[tp].begin:
        raise PermanentError(
            f"The dead letter has no value because it had {size} bytes, and retention has dropped {dead_letter.origin}:"
            " produce the record again from its source.",
        )
    for message in kafka.read({tp: refusal.offset}, {tp: refusal.offset + 1}):
        value = message.value()
        if message.offset() == refusal.offset and value is not None and len(value) == size:
            return value
    raise PermanentError(f"{dead_letter.origin} is not the record of {size} bytes that the dead letter speaks of.")
