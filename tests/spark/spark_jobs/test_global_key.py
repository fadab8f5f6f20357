"""An order that moves to another date, on both engines: one row, on its latest version's date, deletes included."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import date
from pathlib import Path
from typing import Any

from platform_core.domain.catalog import Catalog
from platform_core.lake.key_versions import KeyVersions, Moves
from platform_core.lake.lake import Lake
from platform_core.settings import Settings
from spark_jobs import bronze_to_silver
from spark_jobs.bronze_to_silver import SilverResult
from tests.rigs.lake.bronze_days import DAY, OTHER_DAY, Record, at, order, write
from tests.rigs.lake.delta_rows import rows
from tests.spark.conftest import Engine


def test_a_row_lives_on_the_date_of_its_latest_version(
    engines: dict[str, Engine], catalog: Catalog, tmp_path: Path
) -> None:
    domain = catalog["orders"]
    domain = domain.model_copy(update={"silver": domain.silver.model_copy(update={"global_key": True})})
    outcomes = {}
    for name, engine in engines.items():
        lake = Lake(Settings(lake_uri=str(tmp_path / name)))
        stored, seed = KeyVersions(lake, domain), iter(range(100))

        def run(day: date, records: Sequence[Record], *, stored=stored, lake=lake, engine=engine, seed=seed) -> Any:
            write(lake, domain, day, records, files=1, seed=next(seed))
            files = [file.name for file in lake.list_date(domain, day)]
            moves: list[Moves] = []
            result = bronze_to_silver.run(engine.spark, lake, domain, day, files, moves.append)
            stored.replace(day, moves[0].versions)
            return result, dict(moves[0].dates)

        def on(day: date, *, lake=lake) -> dict[int, Any]:
            found = rows(lake, lake.silver(domain), "order_date", day)
            return {row["order_id"]: row["deleted_at"] for row in found}

        old = [
            Record(order(n, "placed", "1.00", created_at=at(-3), updated_at=at(hour)), offset=n)
            for n, hour in ((1, -2), (2, 6), (3, -2))
        ]
        assert run(OTHER_DAY, old)[1] == {}
        moved = [
            Record(order(1, "placed", "1.00", updated=2), offset=11),
            Record(order(2, "placed", "1.00"), offset=12),  # older than the other date's
            Record(order(4, "placed", "1.00"), offset=13),
        ]
        result, dates = run(DAY, moved)
        assert (result.silver_rows, result.moved, dates) == (2, 1, {OTHER_DAY: 1})
        assert result.bronze_rows == result.silver_rows + result.moved
        assert set(on(DAY)) == {1, 4}
        corrected, dates = run(OTHER_DAY, [])
        assert (corrected.silver_rows, corrected.moved, dates) == (2, 1, {})
        assert set(on(OTHER_DAY)) == {2, 3}

        # A refused latest version withholds the row everywhere; a delete reaches it on the date that it moved to.
        bad = Record(order(3, "teleported", "1.00", updated=4), offset=14)
        deleted = Record(order(1, "placed", "1.00", updated=5, deleted_at=at(5)), offset=15)
        assert run(DAY, [bad, deleted])[1] == {OTHER_DAY: 1}
        assert run(OTHER_DAY, [])[1] == {}
        assert (on(DAY), set(on(OTHER_DAY))) == ({1: at(5), 4: None}, {2})
        last: SilverResult = bronze_to_silver.run(engine.spark, lake, domain, DAY, [])
        assert (last.silver_rows, last.moved) == (0, 0)
        outcomes[name] = [rows(lake, lake.silver(domain)), rows(lake, lake.key_versions(domain))]
    assert outcomes["spark"] == outcomes["sail"]
