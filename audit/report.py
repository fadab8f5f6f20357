"""What an audit answers: counts that add up, what explains each difference, and what nothing explains.

Only values and their JSON live here; finding them belongs to the stages, printing them to the command line. The
reasons and the kinds of problem are listed in docs/operations.md.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import date
from enum import StrEnum
from typing import Any, Literal

from platform_core.counted import counted
from platform_kafka.offset_ranges import OffsetRanges

MAX_NAMED = 10
"""Keys or ranges that a problem names: enough to find the cause, few enough to read."""


class Stage(StrEnum):
    """A step between two layers, in the order of a record's way."""

    SOURCE = "source"
    BRONZE = "bronze"
    SILVER = "silver"
    GOLD = "gold"
    WAREHOUSE = "warehouse"

    @property
    def layers(self) -> str:
        """The two layers that are compared, to read."""
        return LAYERS[self]


LAYERS: Mapping[Stage, str] = {
    Stage.SOURCE: "source → silver",
    Stage.BRONZE: "kafka → bronze",
    Stage.SILVER: "bronze → silver",
    Stage.GOLD: "silver → gold",
    Stage.WAREHOUSE: "gold → warehouse",
}


class Kind(StrEnum):
    """What nothing explains."""

    LOST = "lost"
    EXPIRED_UNVERIFIABLE = "expired_unverifiable"
    PHANTOM = "phantom"
    FOOTER_DIFFERS = "footer_differs"
    UNREADABLE_FILE = "unreadable_file"
    UNREADABLE_NOTE = "unreadable_note"
    FILE_MISSING = "file_missing"
    MISSING_IN_SILVER = "missing_in_silver"
    WRONG_VERSION = "wrong_version"
    DUPLICATE = "duplicate"
    ALSO_QUARANTINED = "also_quarantined"
    MISSING = "missing"
    DIFFERS = "differs"


class Reason(StrEnum):
    """What explains a difference."""

    DEAD_LETTER = "dead_letter"
    NO_RECORD = "no_record"
    NOT_READ_YET = "not_read_yet"
    NOT_POLLED_YET = "not_polled_yet"
    BEFORE_FIRST_POLL = "before_first_poll"
    NOT_PROCESSED_YET = "not_processed_yet"
    ACCOUNTED_BEFORE_EXPIRY = "accounted_before_expiry"
    TOPIC_RECREATED = "topic_recreated"
    DELIVERED_AGAIN = "delivered_again"
    OLDER_VERSION = "older_version"
    MOVED = "moved"
    ON_SEVERAL_DATES = "on_several_dates"
    QUARANTINED = "quarantined"
    ERASED = "erased"
    BEFORE_START_DATE = "before_start_date"


NEXT_STEPS: Mapping[Kind, str] = {
    Kind.LOST: "While Kafka has the offsets: stop the sinks, `pdp offsets reset` to the first, start the sinks.",
    Kind.EXPIRED_UNVERIFIABLE: "Kafka has dropped the offsets: compare the dates around them with the source.",
    Kind.PHANTOM: "Find who wrote the rows; `pdp partitions reset` rebuilds the date from Bronze.",
    Kind.FOOTER_DIFFERS: "Do not trust the file's footer: find out what wrote or changed the file.",
    Kind.UNREADABLE_FILE: "Restore the file, or read its offsets again with `pdp offsets reset`.",
    Kind.UNREADABLE_NOTE: "Restore the note from the store's versions; if there is none, remove it.",
    Kind.FILE_MISSING: "Restore the file from the store's versions; a reset with `--accept-loss` accepts its loss.",
    Kind.MISSING_IN_SILVER: "Look at the Transform for a filter, then process the date again: `pdp partitions reset`.",
    Kind.WRONG_VERSION: "Check `silver.order_by`, then process the date again: `pdp partitions reset`.",
    Kind.DUPLICATE: "Find a second writer of the table, then process the date again: `pdp partitions reset`.",
    Kind.ALSO_QUARANTINED: "Process the date again: `pdp partitions reset`.",
    Kind.MISSING: "Follow a key with `pdp trace`, then process the date again: `pdp partitions reset`.",
    Kind.DIFFERS: "Process the date again: `pdp partitions reset`; if it stays, look for a second writer.",
}

NEXT_STEPS_OF_STAGE: Mapping[tuple[Stage, Kind], str] = {
    (Stage.SOURCE, Kind.PHANTOM): (
        "Bronze has never heard that the row is gone, so a reset changes nothing: insert its last version of this date"
        " into the source's table of tombstones, with `deleted_at` and `updated_at = clock_timestamp()`."
    ),
    (Stage.SOURCE, Kind.DIFFERS): (
        "The source changed the row without a new version, or holds what no layer can: `UPDATE` the row with its"
        " triggers on, to a value that can be kept, and it is sent again."
    ),
    (Stage.SOURCE, Kind.MISSING): (
        "Follow a key with `pdp trace`; if no layer has it, send it again: stop the producer, `pdp watermark reset`."
    ),
    (Stage.BRONZE, Kind.PHANTOM): "Find who wrote the rows, and remove their file by hand: no run does it.",
    (Stage.SILVER, Kind.UNREADABLE_FILE): (
        "Restore the file, or remove it if it was never the sink's; then process it again: `pdp partitions reset`."
    ),
}
"""Where a step that helps at another stage would lead in a circle."""


@dataclass(frozen=True)
class Equation:
    """A whole and the parts that it must be the sum of.

    Attributes:
        whole: What is counted, for example `kafka`.
        count: How many there are.
        parts: Name to count; those of nothing are left out.
    """

    whole: str
    count: int
    parts: Mapping[str, int]

    @property
    def adds_up(self) -> bool:
        """Whether the parts are the whole."""
        return self.count == sum(self.parts.values())

    def __str__(self) -> str:
        shown = [f"{name} {count:,}" for name, count in self.parts.items() if count]
        return f"{self.whole} {self.count:,} {'=' if self.adds_up else '≠'} {' + '.join(shown) or '0'}"

    def __add__(self, other: Equation) -> Equation:
        """Return the sum of two equations of the same whole, as over several dates."""
        names = dict.fromkeys([*self.parts, *other.parts])
        parts = {name: self.parts.get(name, 0) + other.parts.get(name, 0) for name in names}
        return Equation(self.whole, self.count + other.count, parts)


@dataclass(frozen=True)
class Problem:
    """A difference that nothing explains.

    Attributes:
        stage: Where it was found.
        day: The date, None where the stage has none.
        kind: What it is.
        count: How many offsets, rows or values.
        topic: The topic of `offsets`.
        offsets: Kafka partition to the offsets, all of them.
        keys: The first keys, files or expressions, as text.
        detail: How it is known.
    """

    stage: Stage
    domain: str
    day: date | None
    kind: Kind
    count: int
    topic: str | None = None
    offsets: Mapping[int, OffsetRanges] = field(default_factory=dict)
    keys: tuple[str, ...] = ()
    detail: str = ""

    @property
    def where(self) -> str:
        """The first offsets and keys, to read."""
        ranges = [(p, first, last) for p, some in sorted(self.offsets.items()) for first, last in some]
        named = [f"{self.topic}:{p}:{a}" if a == b else f"{self.topic}:{p}:{a}-{b}" for p, a, b in ranges[:MAX_NAMED]]
        more = [f"and {len(ranges) - MAX_NAMED:,} ranges more"] if len(ranges) > MAX_NAMED else []
        return ", ".join([*named, *more, *self.keys])

    @property
    def next_step(self) -> str:
        """What to do."""
        text = NEXT_STEPS_OF_STAGE.get((self.stage, self.kind), NEXT_STEPS[self.kind])
        partition = min(self.offsets, default=None)
        if self.kind is Kind.LOST and partition is not None:
            where = f"--topic {self.topic} --partition {partition} --to-offset {self.offsets[partition].first}"
            return text.replace("pdp offsets reset", f"pdp offsets reset {where}")
        text = text.replace("pdp watermark reset", f"pdp watermark reset {self.domain}")
        return text.replace("pdp partitions reset", f"pdp partitions reset {self.domain} {self.day}")

    def to_json(self) -> dict[str, Any]:
        """Return the problem as JSON values."""
        return {
            "stage": self.stage.value,
            "domain": self.domain,
            "date": self.day.isoformat() if self.day else None,
            "kind": self.kind.value,
            "count": self.count,
            "topic": self.topic,
            "offsets": {str(p): ranges.to_json() for p, ranges in sorted(self.offsets.items())},
            "keys": list(self.keys),
            "detail": self.detail,
            "next_step": self.next_step,
        }


@dataclass(frozen=True)
class CheckOutcome:
    """One check of one date.

    Attributes:
        layer: silver, gold or snowflake.
        table: The asset's name within its layer.
        name: The check.
        passed: Whether it holds.
        facts: What was compared, for the UI.
        severity: Of a failure: ERROR blocks what comes after, WARN is shown.
    """

    layer: str
    table: str
    name: str
    passed: bool
    facts: dict[str, Any] = field(default_factory=dict)
    severity: Literal["ERROR", "WARN"] = "ERROR"

    @property
    def blocks(self) -> bool:
        """Whether nothing may come after it."""
        return not self.passed and self.severity == "ERROR"


@dataclass(frozen=True)
class StageResult:
    """One stage of one domain, of one date where the stage has dates.

    Attributes:
        day: The date, None where the stage has none.
        equations: The counts.
        uncounted: Reasons that no equation has, and how often each.
        problems: What nothing explains.
        not_checked: Why the stage could not be looked at, empty when it was.
        not_compared: What this look leaves open although it was made, empty when nothing.
        checks: The asset checks that the comparison answers, where a run evaluates them.
    """

    stage: Stage
    domain: str
    day: date | None = None
    equations: tuple[Equation, ...] = ()
    uncounted: Mapping[Reason, int] = field(default_factory=dict)
    problems: tuple[Problem, ...] = ()
    not_checked: str = ""
    not_compared: str = ""
    checks: tuple[CheckOutcome, ...] = ()

    @property
    def explained(self) -> Counter[Reason]:
        """How often each reason explains a difference."""
        explained = Counter(self.uncounted)
        for equation in self.equations:
            explained.update({part: count for part, count in equation.parts.items() if isinstance(part, Reason)})
        return explained

    @property
    def ok(self) -> bool:
        """Whether it was looked at, nothing is unexplained, and the counts add up."""
        return not self.not_checked and not self.problems and all(equation.adds_up for equation in self.equations)

    def to_json(self) -> dict[str, Any]:
        """Return the result as JSON values, without its problems."""
        return {
            "stage": self.stage.value,
            "domain": self.domain,
            "date": self.day.isoformat() if self.day else None,
            "ok": self.ok,
            "counts": [
                {"whole": e.whole, "count": e.count, "parts": dict(e.parts), "adds_up": e.adds_up}
                for e in self.equations
            ],
            "explained": {reason.value: count for reason, count in self.explained.items() if count},
            "not_checked": self.not_checked or None,
            "not_compared": self.not_compared or None,
        }


@dataclass(frozen=True)
class AuditReport:
    """A whole audit.

    Attributes:
        results: One result a stage, domain and date.
    """

    results: tuple[StageResult, ...]

    @property
    def problems(self) -> tuple[Problem, ...]:
        """Everything that nothing explains."""
        return tuple(problem for result in self.results for problem in result.problems)

    @property
    def not_checked(self) -> tuple[StageResult, ...]:
        """What could not be looked at."""
        return tuple(result for result in self.results if result.not_checked)

    @property
    def clean(self) -> bool:
        """Whether anything and everything was looked at, and everything is explained."""
        return bool(self.results) and all(result.ok for result in self.results)

    @property
    def exit_code(self) -> int:
        """0 clean, 1 problems, 2 something or everything was not looked at and nothing else is wrong."""
        if self.problems or any(not result.ok and not result.not_checked for result in self.results):
            return 1
        return 0 if self.clean else 2

    @property
    def scope(self) -> str:
        """What was looked at, to read."""
        seen = [result for result in self.results if not result.not_checked]
        days = sorted({result.day for result in seen if result.day is not None})
        dates = f", {counted(len(days), 'date')} from {days[0]} to {days[-1]}" if days else ""
        stages = ", ".join(
            dict.fromkeys(
                f"{each.stage.layers} without {each.not_compared}" if each.not_compared else each.stage.layers
                for each in seen
            )
        )
        return f"{', '.join(dict.fromkeys(result.domain for result in seen))}; {stages}{dates}" if seen else "nothing"

    def of(self, stage: Stage, domain: str) -> Iterator[StageResult]:
        """Iterate over the results of one stage and domain."""
        return (result for result in self.results if (result.stage, result.domain) == (stage, domain))

    def summary(self) -> tuple[StageResult, ...]:
        """Return one result a domain and stage: that of all dates together."""
        pairs = dict.fromkeys((result.domain, result.stage) for result in self.results)
        return tuple(_together(list(self.of(stage, domain))) for domain, stage in pairs)

    def to_json(self) -> dict[str, Any]:
        """Return the report as JSON values."""
        return {
            "clean": self.clean,
            "looked_at": self.scope,
            "summary": [result.to_json() for result in self.summary()],
            "problems": [problem.to_json() for problem in self.problems],
            "results": [result.to_json() for result in self.results],
        }


def problems_of(
    stage: Stage, domain: str, day: date | None, listed: Iterable[tuple[Kind, Sequence[object], str]]
) -> tuple[Problem, ...]:
    """Return a problem of each kind that has any keys, files or expressions.

    Args:
        listed: Kind, what it is about, and how it is known.
    """
    return tuple(
        Problem(
            stage, domain, day, kind, len(some), keys=tuple(dict.fromkeys(map(str, some)))[:MAX_NAMED], detail=detail
        )
        for kind, some, detail in listed
        if some
    )


def _together(results: Sequence[StageResult]) -> StageResult:
    equations: dict[str, Equation] = {}
    for result in results:
        for equation in result.equations:
            known = equations.get(equation.whole)
            equations[equation.whole] = equation if known is None else known + equation
    return StageResult(
        results[0].stage,
        results[0].domain,
        equations=tuple(equations.values()),
        uncounted=sum((Counter(result.uncounted) for result in results), Counter()),
        problems=tuple(problem for result in results for problem in result.problems),
        not_checked="; ".join(dict.fromkeys(result.not_checked for result in results if result.not_checked)),
        not_compared="; ".join(dict.fromkeys(result.not_compared for result in results if result.not_compared)),
    )
