"""A cold date of Bronze in a bucket gets few files, though the turn is killed behind its compare-and-set."""

from __future__ import annotations

import pytest

from infra.embedded.services.object_store import ObjectStore
from maintenance.cold_bronze.dates import ColdDates
from platform_core.lake.bronze_compaction import CompactionNote
from platform_core.partitions.plan import TickPlan
from platform_core.settings import Settings
from tests.rigs.lake.cold_rig import REPLACED, ColdRig


def test_killed_before_the_note_says_so_the_new_files_count(
    object_store: ObjectStore, monkeypatch: pytest.MonkeyPatch
) -> None:
    rig = ColdRig(Settings.of(object_store.env() | {"LAKE_URI": "s3://lake/cold"}), make=True)
    before, to_json = rig.rows(), CompactionNote.to_json

    def killed(note: CompactionNote) -> bytes:
        if note.decided:
            raise KeyboardInterrupt
        return to_json(note)

    with monkeypatch.context() as patched, pytest.raises(KeyboardInterrupt):
        patched.setattr(CompactionNote, "to_json", killed)
        rig.turn()
    assert len(rig.names) == 2 and rig.rows().equals(before) and rig.decide() == TickPlan()
    left = rig.turn(minutes=5)
    assert left is not None and left == ColdDates(2, 2, left.bytes)
    done = rig.turn(hours=2)
    assert done is not None and (done.removed, rig.on_disk) == (REPLACED, 2)
    assert rig.rows().equals(before) and rig.decide() == TickPlan()
