"""Whatever is in the way of a correction by touched keys, the date is processed as a whole."""

from __future__ import annotations

from typing import Any

import pyarrow as pa
import pytest

from platform_core.partitions.partition_state import State
from processing import touched_keys
from processing.claim import Claimed
from processing.last_done import LastDone
from processing.touched_keys import AsAWhole, by_touched_keys
from spark_jobs.writing.few_row_changes import row_changes
from tests.unit.processing.test_claim import DAY, ClaimRig


def test_a_time_that_python_cannot_have_is_the_engines_to_write(tmp_path: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    rig = ClaimRig(tmp_path)
    claim = Claimed(DAY, (), "", State.REPROCESSING, None, LastDone((), (), {}))
    of_year_10000 = pa.table({"id": [1], "at": pa.array([253_402_300_800_000_000], pa.timestamp("us", "UTC"))})
    monkeypatch.setattr(touched_keys, "_corrected", lambda *_: row_changes(of_year_10000, of_year_10000, ["id"]))
    outcome = by_touched_keys(None, rig.lake, rig.events, claim, lambda: None)  # type: ignore[arg-type]
    assert outcome == AsAWhole("OverflowError")
