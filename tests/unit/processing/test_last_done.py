"""A correction builds on the last success only where nothing but new files has come since."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from platform_core.errors import TransientError
from platform_core.partitions.partition_meta import Change
from platform_core.partitions.partition_state import Event, State
from processing.claim import Claimed
from processing.last_done import LastDone
from spark_jobs.bronze_to_silver import SilverResult
from tests.unit.processing.test_claim import DAY, ClaimRig

SILVER = SilverResult(9, 9, 7, 0, 1, 1, {"known_event_type": 1}, {}, published=True, seconds=3.0, made_by="this")


@pytest.fixture
def rig(tmp_path: Path) -> ClaimRig:
    return ClaimRig(tmp_path)


def done(rig: ClaimRig, silver: SilverResult = SILVER, unexplained: Any = ()) -> None:
    claims = rig.claims()
    claims.claim(DAY)
    claims.finish(DAY, silver, 3, unexplained)
    rig.clock.advance(hours=1)


def late_file(rig: ClaimRig) -> str:
    name = rig.files[0].replace("part-0", "part-9")
    Path(rig.lake.uri(name)).write_bytes(b"x")
    return name


def queued(rig: ClaimRig, *before: Change) -> None:
    rig.meta.apply([*before, Change("events", DAY, State.DONE, Event.FILES_CHANGED)])
    rig.meta.apply([Change("events", DAY, State.LATE, Event.QUEUED)])


def claimed(rig: ClaimRig, *, discovered: bool = True) -> LastDone | str:
    claim = rig.claims("b", discovered=discovered).claim(DAY)
    assert isinstance(claim, Claimed)
    return claim.last_done


def test_new_files_alone_are_corrected_from_what_the_date_was(rig: ClaimRig) -> None:
    done(rig)
    name = late_file(rig)
    queued(rig)
    last = claimed(rig)
    assert isinstance(last, LastDone), last
    assert (last.files, last.new_files) == (tuple(rig.files), (name,))
    assert SilverResult(**last.counts, published=True, seconds=3.0) == SILVER


def test_a_date_that_is_new_says_nothing(rig: ClaimRig) -> None:
    assert claimed(rig, discovered=False) == ""


def an_attempt(rig: ClaimRig) -> None:
    queued(rig)
    rig.claims("dead", discovered=True).claim(DAY)
    rig.claims("dead").abandon(DAY, TransientError("killed"))
    rig.meta.apply([Change("events", DAY, State.FAILED, Event.RETRY)])


def a_reset(rig: ClaimRig) -> None:
    rig.meta.apply([Change("events", DAY, State.DONE, Event.RESET, detail={"cause": "asked for"})])


def rows_that_moved(rig: ClaimRig) -> None:
    rig.meta.apply([Change("events", DAY, State.DONE, Event.ROWS_MOVED)])
    rig.meta.apply([Change("events", DAY, State.LATE, Event.QUEUED)])


def a_compaction(rig: ClaimRig) -> None:
    queued(rig, Change("events", DAY, State.DONE, Event.FILES_COMPACTED))


@pytest.mark.parametrize("happened", [an_attempt, a_reset, rows_that_moved, a_compaction])
def test_a_date_to_which_more_has_happened_is_processed_as_a_whole(
    rig: ClaimRig, happened: Callable[[ClaimRig], None]
) -> None:
    done(rig)
    late_file(rig)
    happened(rig)
    assert claimed(rig) == "more has happened to the date than that files came"


def test_a_person_has_the_whole_date_processed(rig: ClaimRig) -> None:
    done(rig)
    late_file(rig)
    queued(rig)
    assert claimed(rig, discovered=False) == "a person asked for the date"


def test_other_code_has_the_whole_date_processed(rig: ClaimRig) -> None:
    done(rig)
    late_file(rig)
    queued(rig)
    quality = rig.events.quality.model_copy(update={"max_quarantined_ratio": 0.5})
    rig.events = rig.events.model_copy(update={"quality": quality})
    assert claimed(rig) == "the domain's code was another one"


def test_a_global_key_has_the_whole_date_processed(rig: ClaimRig) -> None:
    rig.events = rig.events.model_copy(update={"silver": rig.events.silver.model_copy(update={"global_key": True})})
    done(rig)
    late_file(rig)
    queued(rig)
    assert claimed(rig) == "the domain has a global key"


def test_what_was_not_proven_or_not_explained_has_the_whole_date_processed(rig: ClaimRig) -> None:
    done(rig, SilverResult(9, 9, 9, 0, 0, 0, {}, {}, published=True))
    late_file(rig)
    queued(rig)
    assert claimed(rig) == "what the date was made of was not proven to be row-wise"


def test_what_the_audit_could_not_explain_has_the_whole_date_processed(rig: ClaimRig) -> None:
    done(rig, unexplained=[{"stage": "silver", "kind": "phantom", "count": 1}])
    late_file(rig)
    queued(rig)
    assert claimed(rig) == "the audit could not explain the date"


def test_a_history_of_an_earlier_version_has_the_whole_date_processed(rig: ClaimRig) -> None:
    rig.claims().claim(DAY)
    code = rig.claims()._code
    processed = {"processed_at": rig.clock.now()}
    rig.meta.apply(
        [
            Change("events", DAY, State.IN_FLIGHT, Event.SUCCEEDED, run_id="a", set=processed, detail={"code": code}),
        ]
    )
    late_file(rig)
    queued(rig)
    assert claimed(rig) == "what the date was made of was not proven to be row-wise"
