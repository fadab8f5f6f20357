"""What a correction may build on: a date's last success, if nothing but new files has come since.

Only the date's history is read here, and it must be beyond doubt: everything else has the date processed as a whole.
Whether its rows can be judged by their keys is found out in `processing.touched_keys`.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from platform_core.partitions.partition_meta import UNEXPLAINED, Partition, Transition, since_done
from platform_core.partitions.partition_state import Event, State
from processing.context import RunContext

COUNTS = "counts"
"""In the detail of the transition to DONE: the fields of `SilverResult`."""

_ONLY_NEW_FILES = [Event.FILES_CHANGED.value, Event.QUEUED.value]


@dataclass(frozen=True)
class LastDone:
    """A date as it was last DONE, and what has come since.

    Attributes:
        files: The Bronze files that it was made of.
        new_files: Those that have come since.
        counts: The fields of its `SilverResult`, as JSON gave them back.
    """

    files: tuple[str, ...]
    new_files: tuple[str, ...]
    counts: Mapping[str, Any]


def last_done(
    run: RunContext, row: Partition, files: Sequence[str], history: Sequence[Transition], code: str
) -> LastDone | str:
    """Return what a correction may build on, or why it may not, as the end of a sentence.

    Args:
        run: The run that claims the date.
        row: The date's row before the claim.
        files: The files that it pins; all of the row's are among them.
        history: The date's transitions before the claim, oldest first.
        code: The version of the domain's code.
    """
    done, since = since_done(history)
    facts = done.facts if done is not None else {}
    counts = facts.get(COUNTS)
    objections = {
        "a person asked for the date": not run.discovered,
        "the domain has a global key": run.domain.silver.global_key,
        "more has happened to the date than that files came": (
            row.status is not State.REPROCESSING or [t.event for t in since] != _ONLY_NEW_FILES
        ),
        "the domain's code was another one": facts.get("code") != code,
        "what the date was made of was not proven to be row-wise": (
            not isinstance(counts, Mapping) or not counts.get("made_by")
        ),
        "the audit could not explain the date": UNEXPLAINED in facts,
    }
    if objection := next((text for text, holds in objections.items() if holds), ""):
        return objection
    assert isinstance(counts, Mapping)
    return LastDone(row.source_files, tuple(sorted(set(files) - set(row.source_files))), counts)
