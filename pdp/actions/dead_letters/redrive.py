"""Dead letters sent back to their raw topic, so that the sink reads them again after the cause was mended.

Which letters, in what order, and what a crash may do is decided here; reading them is
`pdp.actions.dead_letters.reader`, what was done before is `pdp.actions.dead_letters.redrive_ledger`. A letter's ledger
record follows the broker's ack, so a kill between the two sends it once more: at most `WINDOW` letters, of which Silver
keeps one row by business key.
"""

from __future__ import annotations

from collections.abc import Callable
from contextlib import ExitStack
from dataclasses import dataclass, field
from datetime import datetime

from pdp.actions.dead_letters import reader, redrive_ledger, redrive_lock
from pdp.actions.dead_letters.reader import Letter
from pdp.actions.dead_letters.redrive_ledger import Fate
from pdp.actions.dead_letters.redrive_sender import WINDOW, Sender
from platform_core.domain.catalog import Domain
from platform_core.errors import PermanentError
from platform_core.settings import Settings
from platform_kafka.reader import OperatorKafka
from platform_kafka.topics import dlq_name, parked_name, redriven_name

DEFAULT_MAX_ATTEMPTS = 3
KEPT_FAILURES = 1_000


@dataclass(frozen=True)
class Selection:
    """Which letters are meant.

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
    """A letter that could not be sent, and why."""

    letter: str
    origin: str
    reason: str


@dataclass
class RedriveResult:
    """What a redrive did; in a dry run, what it would do.

    Attributes:
        topic: The raw topic that the letters went to.
        dry_run: Whether nothing was sent.
        sent: Letters sent back.
        parked: Letters refused too often, put aside in `dlq-<topic>-parked`.
        skipped: Letters that an earlier redrive has done, and second letters of one refusal.
        unreadable: Letters that could not be sent.
        failures: The first of those, with the reason.
        error_classes: Letters by error class among all that were looked at, to answer a filter that matched none.
    """

    domain: str
    topic: str
    dry_run: bool
    sent: int = 0
    parked: int = 0
    skipped: int = 0
    unreadable: int = 0
    failures: list[Unsent] = field(default_factory=list)
    error_classes: dict[str, int] = field(default_factory=dict)


def redrive(
    settings: Settings,
    domain: Domain,
    selection: Selection | None = None,
    *,
    operator: str,
    now: Callable[[], datetime],
    max_attempts: int = DEFAULT_MAX_ATTEMPTS,
    dry_run: bool = False,
    window: int = WINDOW,
    progress: Callable[[int], None] | None = None,
) -> RedriveResult:
    """Send letters back, each once, however often this is called.

    Args:
        selection: Which letters; all by default.
        operator: Who asks, for the ledger.
        now: The current time, UTC.
        max_attempts: A letter that was refused so often is parked instead. One that was parked is sent after all
            when a later call allows more.
        dry_run: Whether to only count.
        window: Letters in flight, which a crash may send twice.
        progress: Called with the number of letters handled, after each.

    Raises:
        ConfigurationError: the cluster refuses the credentials.
        PermanentError: a topic is missing; `python -m producers provision` creates it.
        TransientError: Kafka does not answer, or another redrive of the domain runs. Calling again goes on.
    """
    wanted = selection or Selection()
    result = RedriveResult(domain.name, domain.topic.name, dry_run)
    with ExitStack() as stack:
        kafka = stack.enter_context(OperatorKafka(settings))
        for topic in (domain.topic.name, dlq_name(domain), parked_name(domain), redriven_name(domain)):
            kafka.partitions(topic)
        keep = _nothing
        sender: Sender | None = None
        if not dry_run:
            keep = stack.enter_context(redrive_lock.exclusive(kafka.client_config(), redriven_name(domain)))
            sender = Sender(kafka.client_config(), domain, operator, now, window, _failed(result))
        done = redrive_ledger.fates(kafka, domain)
        for letter in reader.letters(kafka, domain, since=wanted.since):
            keep()
            result.error_classes[letter.error_class] = result.error_classes.get(letter.error_class, 0) + 1
            if wanted.error not in (None, letter.error_class):
                continue
            if wanted.limit is not None and result.sent + result.parked + result.unreadable >= wanted.limit:
                break
            _handle(letter, done, max_attempts, kafka, sender, result)
            if progress is not None:
                progress(result.sent + result.parked + result.skipped + result.unreadable)
        if sender is not None:
            sender.finish()
            result.sent, result.parked = sender.acknowledged[Fate.SENT], sender.acknowledged[Fate.PARKED]
    return result


def _handle(
    letter: Letter,
    done: dict[str, Fate],
    max_attempts: int,
    kafka: OperatorKafka,
    sender: Sender | None,
    result: RedriveResult,
) -> None:
    fate = Fate.PARKED if letter.attempt >= max_attempts else Fate.SENT
    if done.get(letter.identity) in (Fate.SENT, fate):
        result.skipped += 1
        return
    value = letter.value
    if fate is Fate.SENT and letter.omitted_bytes is not None:
        try:
            value = _value_in_the_raw_topic(kafka, letter, letter.omitted_bytes)
        except PermanentError as error:
            _failed(result)(letter, error.message)
            return
    done[letter.identity] = fate
    if sender is not None:
        sender.send(letter, value, fate)
    if fate is Fate.SENT:
        result.sent += 1
    else:
        result.parked += 1


def _nothing() -> None:
    """Keep no lock: a dry run has none."""


def _failed(result: RedriveResult) -> Callable[[Letter, str], None]:
    def failed(letter: Letter, reason: str) -> None:
        result.unreadable += 1
        if len(result.failures) < KEPT_FAILURES:
            result.failures.append(Unsent(letter.place, letter.origin, reason))

    return failed


def _value_in_the_raw_topic(kafka: OperatorKafka, letter: Letter, size: int) -> bytes:
    where = (letter.origin_topic, letter.origin_partition)
    if where not in kafka.partitions(letter.origin_topic):
        raise PermanentError(f"The letter has no value, and there is no {letter.origin} to take it from.")
    begin = kafka.bounds([where])[where].begin
    if letter.origin_offset < begin:
        raise PermanentError(
            f"The letter has no value because it had {size} bytes, and retention has dropped {letter.origin}: produce"
            " the record again from its source.",
        )
    for message in kafka.read({where: letter.origin_offset}, {where: letter.origin_offset + 1}):
        value = message.value()
        if message.offset() == letter.origin_offset and value is not None and len(value) == size:
            return value
    raise PermanentError(f"{letter.origin} is not the record of {size} bytes that the letter speaks of.")
