"""The history of a table that had rows of the person: it goes, whatever ends the first attempt."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pyarrow as pa
import pytest
from deltalake import DeltaTable, write_deltalake
from deltalake.table import TableAlterer

from erasure.delta_tables import count, forget_history
from erasure.subject import holders
from platform_core.domain.catalog import Catalog
from platform_core.errors import TransientError
from platform_core.lake.lake import Lake
from tests.rigs.settings_of import settings_of

TABLE = "silver/events"
RETENTION = "delta.logRetentionDuration"


@pytest.mark.parametrize(
    ("step", "place"),
    [
        ("set_table_properties", TableAlterer),
        ("create_checkpoint", DeltaTable),
        ("cleanup_metadata", DeltaTable),
        ("vacuum", DeltaTable),
    ],
)
def test_an_attempt_that_is_ended_is_done_again_to_its_end(
    tmp_path: Path, catalog: Catalog, monkeypatch: pytest.MonkeyPatch, step: str, place: Any
) -> None:
    lake = Lake(settings_of({"LAKE_URI": str(tmp_path)}))
    [holder] = [each for each in holders(catalog, "user", "77") if each.domain.name == "events"]
    for users in ([77, 77], [8, 9]):
        write_deltalake(lake.uri(TABLE), pa.table({"user_id": users}), mode="overwrite")

    def end(*_: Any, **__: Any) -> None:
        raise OSError("the store is out")

    with monkeypatch.context() as patch:
        patch.setattr(place, step, end)
        with pytest.raises(TransientError, match="the store is out"):
            forget_history(lake, TABLE)
    left = count(lake, TABLE, holder)
    assert left is not None and left.in_history, "nobody would know that it must be done again"

    forget_history(lake, TABLE)
    done = count(lake, TABLE, holder)
    assert done is not None and (done.rows, done.of_subject, done.in_history) == (2, 0, 0)
    assert lake.delta(TABLE).metadata().configuration[RETENTION] == "interval 30 days"
    for entry in Path(lake.path(f"{TABLE}/_delta_log")).glob("*.json"):
        assert 'user_id\\":77' not in entry.read_text(), entry
