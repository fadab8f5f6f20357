"""A topic that is recreated within a date gives its offsets again: what is told apart by them alone is not.

The records of either incarnation have the same places in Kafka, and other times.
"""

from __future__ import annotations

from itertools import permutations
from pathlib import Path

import pytest

from audit.stages import bronze_to_silver as audited
from platform_core.domain.catalog import Catalog
from processing.touched_keys import ByTouchedKeys
from spark_jobs import bronze_to_silver
from spark_jobs.correction import touched_keys
from tests.rigs.lake import bronze_days
from tests.rigs.lake.bronze_days import DAY, Record, at, order
from tests.rigs.lake.delta_rows import rows
from tests.spark.conftest import Engine
from tests.spark.spark_jobs.test_touched_keys import Corrected

BEFORE = [
    Record(order(1, "placed", "1.00"), 0, 0),
    Record(order(2, "teleported", "2.00"), 0, 1),
    Record(order(3, "teleported", "3.00"), 0, 2),
    Record(order(4, "placed", "4.00", updated=3), 0, 3),
    Record(order(5, "placed", "5.00"), 0, 4),
]
AFTER = [
    Record(order(1, "delivered", "1.00"), 0, 0, sent_at=at(12)),  # equal in all that orders versions
    Record(order(2, "teleported", "2.00"), 0, 1, sent_at=at(12)),  # the very same record, refused again
    Record(order(6, "placed", "6.00"), 0, 2, sent_at=at(12)),  # where another one was refused
    Record(order(4, "placed", "4.50", updated=2), 0, 3, sent_at=at(12)),  # an older version at the place of the later
    Record(order(7, "teleported", "7.00"), 0, 4, sent_at=at(12)),
]


def test_the_later_of_two_versions_at_one_place_counts_and_the_audit_explains_every_row(
    empty_engine: Engine, catalog: Catalog
) -> None:
    orders = catalog["orders"]
    files = bronze_days.write(empty_engine.lake, orders, DAY, [*BEFORE, *AFTER])
    result = bronze_to_silver.run(empty_engine.spark, empty_engine.lake, orders, DAY, files)
    silver = {row["order_id"]: row["status"] for row in rows(empty_engine.lake, empty_engine.lake.silver(orders))}
    assert silver == {1: "delivered", 4: "placed", 5: "placed", 6: "placed"}
    assert (result.offset_duplicates, result.key_duplicates, result.quarantined) == (0, 2, {"known_status": 4})
    [kept] = [row for row in rows(empty_engine.lake, empty_engine.lake.silver(orders)) if row["order_id"] == 4]
    assert kept["updated_at"] == at(3, 4)
    compared = audited.compare(empty_engine.lake, orders, DAY, files)
    assert not compared.problems
    assert compared.ok


def test_either_incarnation_may_come_late(
    engines: dict[str, Engine], catalog: Catalog, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(touched_keys, "MOST_NEW_SHARE", 100.0)
    for number, (base, late) in enumerate(permutations((BEFORE, AFTER))):
        rig = Corrected(engines["sail"], catalog["orders"], tmp_path / str(number))
        rig.base(base)
        assert isinstance(outcome := rig.late(late), ByTouchedKeys), str(outcome)
        rig.expect_equal()
