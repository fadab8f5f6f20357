"""Both jobs on a lake on gs://, by both engines: the rows of a folder, and no commit that another writer loses.

The store is the emulator of `tests.rigs.gcs`; a lake on it without an engine is in tests/integration/platform_core.
"""

from __future__ import annotations

import pytest

from platform_core.domain.catalog import Catalog
from platform_core.errors import TransientError
from platform_core.lake.lake import Lake
from spark_jobs import bronze_to_silver, silver_to_gold
from tests.rigs.gcs.service import RIVAL, GcsService
from tests.rigs.lake import bronze_days
from tests.rigs.lake.bronze_days import DAY
from tests.rigs.lake.delta_rows import rows, tables_of, types, version
from tests.rigs.settings_of import settings_of
from tests.spark.conftest import Engine


@pytest.fixture
def lake(gcs: GcsService, engine: Engine) -> Lake:
    """A lake on gs:// for each engine."""
    return Lake(settings_of(gcs.env(engine.name)))


def test_a_date_in_a_bucket_has_the_rows_of_one_in_a_folder(
    gcs: GcsService, engine: Engine, lake: Lake, catalog: Catalog, monkeypatch: pytest.MonkeyPatch
) -> None:
    domain = catalog["orders"]
    files = bronze_days.write(lake, domain, DAY, bronze_days.RECORDS["orders"]())
    silver = bronze_to_silver.run(engine.spark, lake, domain, DAY, files)
    gold = silver_to_gold.run(engine.spark, lake, domain, DAY)
    assert (silver.bronze_rows, silver.silver_rows) == (
        engine.silver["orders"].bronze_rows,
        engine.silver["orders"].silver_rows,
    )
    assert gold.rows == engine.gold["orders"].rows
    tables = tables_of(lake, domain)
    for table in tables:
        assert rows(lake, table) == engine.rows[table], table
        assert types(lake, table) == types(engine.lake, table), table

    # Every table's next version is taken by another writer in the moment in which the job commits it.
    # The engine's of Silver; delta-rs commits to the others.
    monkeypatch.setattr(bronze_to_silver, "FEW_SILVER_ROWS", 0)
    before = {table: version(lake, table) for table in tables}
    gcs.precede_commits(
        *(f"{engine.name}/{table}/_delta_log/{number + 1:020}.json" for table, number in before.items())
    )
    late = [*bronze_days.RECORDS["orders"](), bronze_days.Record(bronze_days.order(555, "placed", "5.00"), 1, 9999)]
    more = bronze_days.write(lake, domain, DAY, late, seed=7)
    if engine.name == "sail":  # Spark commits the next version; Sail leaves that to the date's next attempt
        with pytest.raises(TransientError):
            bronze_to_silver.run(engine.spark, lake, domain, DAY, more)
    bronze_to_silver.run(engine.spark, lake, domain, DAY, more)
    changed = silver_to_gold.run(engine.spark, lake, domain, DAY)
    assert any(count.updated or count.inserted for count in changed.changes.values())
    silver_operations = [commit["operation"] for commit in lake.delta(lake.silver(domain)).history(2)]
    assert silver_operations[1] == RIVAL != silver_operations[0]
    assert 555 in {row["order_id"] for row in rows(lake, lake.silver(domain), domain.partition_key, DAY)}

    happened = gcs.happened()
    assert happened.overwritten_commits == []
    assert happened.refused == []
