"""A case and its contestants, and the run that lets them take turns.

What a case measures belongs to its own module, how a piece of work is measured to `usage`, and what the figures say
together to `summary`.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from benchmarks.usage import Usage


def _equal(one: Path, other: Path) -> list[str]:
    """Say that two contestants without a result to compare agree."""
    return []


@dataclass(frozen=True)
class Contestant:
    """One way to do the work of a case.

    Attributes:
        name: What the table calls it.
        work: Does the work once, leaves its result in the folder, and returns what it used.
        peer: The contestant that it is compared with, the first of the case if empty.
        is_ours: Whether it is the platform, and not what a person would write or take instead.
    """

    name: str
    work: Callable[[Path], Usage]
    peer: str = ""
    is_ours: bool = True


@dataclass(frozen=True)
class Amount:
    """Something that is counted once and takes no turns, of the peer and of what is compared with it."""

    name: str
    peer: float
    other: float

    @property
    def ratio(self) -> float:
        """How many times the peer's it is."""
        return self.other / self.peer if self.peer else float(self.other > 0)


@dataclass(frozen=True)
class Measures:
    """What was measured besides what the contestants used: a row a thing, the same columns of each.

    Attributes:
        thing: What a row is.
        columns: What each of a row's values is, with its unit.
        rows: Name of the thing to its values.
    """

    thing: str
    columns: Sequence[str]
    rows: Mapping[str, Sequence[float]]


def _nothing() -> Sequence[Measures]:
    return ()


@dataclass(frozen=True)
class Case:
    """The same work, done by several contestants.

    Attributes:
        name: What `CASE=` calls it.
        title: What the work is, for a person.
        size: How much of it, for a person.
        contestants: The first is the peer that the others are compared with.
        units: How many things the work takes, for a figure a CPU second; 0 when it means nothing.
        unit: What they are, in the plural.
        differences: Compares what two contestants left in their folders and returns each difference in words.
        amounts: What was counted while the case was prepared.
        measures: Returns what was measured in the rounds so far.
    """

    name: str
    title: str
    size: str
    contestants: Sequence[Contestant]
    units: int = 0
    unit: str = ""
    differences: Callable[[Path, Path], list[str]] = _equal
    amounts: Sequence[Amount] = ()
    measures: Callable[[], Sequence[Measures]] = _nothing

    @property
    def peers(self) -> dict[str, str]:
        """Each contestant's name to that of the one that it is compared with."""
        return {each.name: each.peer or self.contestants[0].name for each in self.contestants}

    @property
    def others(self) -> tuple[str, ...]:
        """The names of the contestants that are not the platform."""
        return tuple(each.name for each in self.contestants if not each.is_ours)


class DifferentResultsError(RuntimeError):
    """Two contestants came to different results, so that their costs must not be compared."""


def compete(
    case: Case, rounds: int, folder: Path, report: Callable[[str], object] = print
) -> Iterator[dict[str, list[Usage]]]:
    """Let the contestants of a case take turns; yield after each round what each has used in each round so far.

    They alternate, and every other round goes backwards, so that what else the machine does hits all of them alike.

    Args:
        rounds: How often each does the work.
        folder: Gets a folder for each turn; a result is kept until the run ends.
        report: Called with a line after each turn.

    Raises:
        DifferentResultsError: results of one round differ.
    """
    used: dict[str, list[Usage]] = {contestant.name: [] for contestant in case.contestants}
    for turn in range(rounds):
        order = case.contestants if turn % 2 == 0 else case.contestants[::-1]
        for contestant in order:
            mine = _folder_of(folder, turn, contestant)
            mine.mkdir(parents=True)
            usage = contestant.work(mine)
            used[contestant.name].append(usage)
            report(f"round {turn + 1} of {rounds}, {contestant.name}: {usage.cpu_seconds:.1f} CPU s")
        peer, *others = case.contestants
        for other in others:
            if different := case.differences(_folder_of(folder, turn, peer), _folder_of(folder, turn, other)):
                raise DifferentResultsError(
                    f"Case `{case.name}`, round {turn + 1}: `{other.name}` differs from `{peer.name}`: "
                    + "; ".join(different)
                )
        yield used


def _folder_of(folder: Path, turn: int, contestant: Contestant) -> Path:
    # Spark takes a comma in a path for the end of it.
    return folder / f"round-{turn}" / re.sub(r"\W+", "-", contestant.name)
