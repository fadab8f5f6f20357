"""What a claim refuses, and what giving a date up costs it."""

from __future__ import annotations

from dataclasses import replace
from datetime import UTC, date, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest

from platform_core.domain.catalog import load_catalog
from platform_core.errors import PermanentError, PlatformError, ServiceDownError, TransientError
from platform_core.lake.lake import BronzeFile, Lake
from platform_core.partitions.partition_meta import Change, StateConflictError
from platform_core.partitions.partition_state import Event, State
from platform_core.partitions.plan import plan
from platform_core.settings import Settings
from processing.claim import Claimed, Claims
from processing.context import RunContext
from tests.rigs.fake_clock import FakeClock
from tests.rigs.lake.memory_partition_meta import InMemoryPartitionMeta
from warehouse.load import WarehouseUnavailableError

DAY = date(2026, 11, 20)


class ClaimRig:
    """Claims of runs over a lake in a folder and states in memory."""

    def __init__(self, folder: Path) -> None:
        self.settings = Settings(lake_uri=str(folder))
        self.lake = Lake(self.settings)
        self.events = load_catalog(self.settings.domains_file)["events"]
        self.clock = FakeClock(datetime(2026, 11, 21, 12, tzinfo=UTC))
        self.meta = InMemoryPartitionMeta(self.clock)
        self.files = [f"{self.lake.bronze_partition(self.events, DAY)}/part-{n}.parquet" for n in range(3)]
        for name in self.files:
            Path(self.lake.uri(name)).parent.mkdir(parents=True, exist_ok=True)
            Path(self.lake.uri(name)).write_bytes(b"x")

    def claims(self, run_id: str = "a", running: frozenset[str] = frozenset(), *, discovered: bool = False) -> Claims:
        run = RunContext(self.settings, self.lake, self.events, self.meta, run_id, discovered, self.clock)
        return Claims(run, lambda other: other in running, lambda _: None)

    def tick(self) -> None:
        listed = {DAY: self.lake.list_date(self.events, DAY)}
        rows = self.meta.rows("events")
        decided = plan(
            self.events, listed, rows, self.clock.now(), self.settings, lambda _: False, pinned=lambda _: self.files
        )
        self.meta.apply(decided.changes)


@pytest.fixture
def rig(tmp_path: Path) -> ClaimRig:
    return ClaimRig(tmp_path)


def test_files_that_were_exchanged_during_a_claim_are_no_loss(rig: ClaimRig, monkeypatch: pytest.MonkeyPatch) -> None:
    rig.tick()
    listed = Lake.list_date

    def exchanged(*args: Any) -> list[BronzeFile]:
        Path(rig.lake.uri(rig.files[0])).unlink(missing_ok=True)
        rig.clock.advance(seconds=1)
        rig.meta.apply([Change("events", DAY, State.PENDING, Event.RESET, set={"source_files": tuple(rig.files[1:])})])
        return listed(*args)

    with monkeypatch.context() as patched, pytest.raises(TransientError, match="has changed while"):
        patched.setattr(Lake, "list_date", exchanged)
        rig.claims().claim(DAY)
    claim = rig.claims().claim(DAY)
    assert isinstance(claim, Claimed) and list(claim.files) == rig.files[1:]


def test_a_date_that_lost_a_file_is_refused_and_stays_as_it_is(rig: ClaimRig) -> None:
    assert isinstance(rig.claims().claim(DAY), Claimed)
    rig.claims().abandon(DAY, TransientError("x"))
    before = rig.meta.get("events", DAY)
    Path(rig.lake.uri(rig.files[1])).unlink()
    with pytest.raises(PermanentError, match=r"has lost 1 file, first .*part-1.*--accept-loss"):
        rig.claims("b").claim(DAY)
    assert rig.meta.get("events", DAY) == before


def test_a_run_that_lives_keeps_its_date_whatever_the_clocks_say(rig: ClaimRig) -> None:
    rig.claims().claim(DAY)
    rig.clock.advance(hours=5)
    with pytest.raises(StateConflictError, match="being processed by run a"):
        rig.claims("b", frozenset({"a"})).claim(DAY)
    assert isinstance(rig.claims("b").claim(DAY), Claimed), "a run that is over has no right to it"


@pytest.mark.parametrize(
    ("error", "ends"),
    [
        (WarehouseUnavailableError("down"), State.RETRYING),
        (ServiceDownError("down"), State.RETRYING),
        (TransientError("full disk"), State.DEAD),
        (PermanentError("no"), State.DEAD),
    ],
)
def test_an_outage_ends_no_date(rig: ClaimRig, error: PlatformError, ends: State) -> None:
    rig.tick()
    for _ in range(10):
        row = rig.meta.get("events", DAY)
        assert row is not None
        if row.status is State.DEAD:
            break
        assert isinstance(rig.claims(discovered=True).claim(DAY), Claimed)
        rig.claims().abandon(DAY, error)
        rig.clock.advance(hours=1)
        rig.tick()
    row = rig.meta.get("events", DAY)
    assert row is not None and row.status is ends


def test_the_loss_that_was_accepted_is_told_by_the_correction(rig: ClaimRig) -> None:
    rig.claims().claim(DAY)
    done = Change("events", DAY, State.IN_FLIGHT, Event.SUCCEEDED, run_id="a", set={"processed_at": rig.clock.now()})
    rig.meta.apply([done])
    Path(rig.lake.uri(rig.files[1])).unlink()
    rig.clock.advance(seconds=timedelta(hours=1).total_seconds())
    accepted = {"cause": "loss accepted", "gone_files": 1}
    kept = {"source_files": (rig.files[0], rig.files[2])}
    rig.meta.apply([Change("events", DAY, State.DONE, Event.RESET, set=kept, detail=accepted)])
    claimed = rig.claims("b", discovered=True).claim(DAY)
    assert isinstance(claimed, Claimed) and claimed.reprocess is not None
    assert (claimed.reprocess.cause, claimed.reprocess.gone_files) == ("loss accepted", 1)


def test_a_history_that_was_written_by_hand_keeps_no_date_from_a_run(
    rig: ClaimRig, monkeypatch: pytest.MonkeyPatch
) -> None:
    rig.claims().claim(DAY)
    done = Change("events", DAY, State.IN_FLIGHT, Event.SUCCEEDED, run_id="a", set={"processed_at": rig.clock.now()})
    rig.meta.apply([done, Change("events", DAY, State.DONE, Event.RESET)])
    by_hand = [replace(line, detail="by hand") for line in rig.meta.history("events", DAY)]
    monkeypatch.setattr(rig.meta, "history", lambda *_, **__: by_hand)
    assert isinstance(rig.claims("b").claim(DAY), Claimed)
