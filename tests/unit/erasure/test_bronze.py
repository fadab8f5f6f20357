"""A Bronze file is rewritten without one person's rows, to the same name however often it is begun."""

from __future__ import annotations

from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from erasure import bronze
from erasure.subject import Holder, holders
from platform_core.clock import SystemClock
from platform_core.domain.catalog import Catalog
from platform_core.errors import PermanentError
from platform_core.lake.lake import Lake
from platform_kafka.formats.bronze_footer import BronzeFooter
from platform_kafka.offset_ranges import OffsetRanges
from tests.rigs.settings_of import settings_of

FOLDER = "bronze/users/snapshot_date=2026-11-01"


@pytest.fixture
def lake(tmp_path: Path) -> Lake:
    (tmp_path / FOLDER).mkdir(parents=True)
    return Lake(settings_of({"LAKE_URI": str(tmp_path)}))


@pytest.fixture
def holder(catalog: Catalog) -> Holder:
    [found] = [each for each in holders(catalog, "user", "7") if each.domain.name == "users"]
    return found


def put(lake: Lake, name: str, users: list[int | None]) -> None:
    footer = BronzeFooter("users", "raw-users", {0: OffsetRanges.of((0, len(users) - 1))})
    rows = {"user_id": pa.array(users, pa.int64()), "_partition": [0] * len(users), "_offset": range(len(users))}
    table = pa.table({**rows, "_offset": pa.array(range(len(users)), pa.int64())})
    pq.write_table(table.replace_schema_metadata(footer.to_metadata()), lake.path(f"{FOLDER}/{name}"))


def footer_of(lake: Lake, name: str) -> BronzeFooter | None:
    return BronzeFooter.from_metadata(pq.read_schema(lake.path(name)).metadata)


def test_others_stay_and_the_footer_names_what_went(lake: Lake, holder: Holder) -> None:
    put(lake, "part-a.parquet", [7, 8, None, 7, 9])
    put(lake, "part-b.parquet", [8])
    files = list(bronze.search(lake, holder))
    assert [(file.rows, file.of_subject) for file in files] == [(5, 2), (1, 0)]
    first = bronze.rewrite(lake, holder, files[0])
    again = bronze.rewrite(lake, holder, files[0])  # the command was killed before the old file went
    assert first == again
    assert first.replaced_by == f"{FOLDER}/part-a-e1.parquet"
    assert pq.read_table(lake.path(first.replaced_by))["user_id"].to_pylist() == [8, None, 9]
    gone = OffsetRanges.of((0, 0), (3, 3))
    assert first.offsets == {0: gone}
    footer = footer_of(lake, first.replaced_by)
    assert footer is not None
    assert (footer.offsets, footer.erased) == ({0: OffsetRanges.of((1, 2), (4, 4))}, {0: gone})
    assert footer.file.endswith("/part-a-e1.parquet")
    bronze.delete(lake, files[0].name)
    bronze.delete(lake, files[0].name)
    assert [file.of_subject for file in bronze.search(lake, holder)] == [0, 0]


def test_a_second_person_adds_to_what_the_footer_names(lake: Lake, catalog: Catalog, holder: Holder) -> None:
    put(lake, "part-a.parquet", [7, 8])
    [file] = bronze.search(lake, holder)
    first = bronze.rewrite(lake, holder, file)
    bronze.delete(lake, file.name)
    [other] = [each for each in holders(catalog, "user", "8") if each.domain.name == "users"]
    [file] = bronze.search(lake, other)
    second = bronze.rewrite(lake, other, file)
    assert (first.replaced_by, second.replaced_by) == (f"{FOLDER}/part-a-e1.parquet", f"{FOLDER}/part-a-e2.parquet")
    footer = footer_of(lake, second.replaced_by)
    assert footer is not None
    assert (footer.offsets, footer.erased) == ({}, {0: OffsetRanges.of((0, 1))})
    assert pq.read_metadata(lake.path(second.replaced_by)).num_rows == 0


def test_a_file_that_nobody_can_read_is_named(lake: Lake, holder: Holder) -> None:
    Path(lake.path(f"{FOLDER}/part-a.parquet")).write_bytes(b"PAR1 nonsense")
    with pytest.raises(PermanentError, match=r"part-a\.parquet.*Restore it first"):
        list(bronze.search(lake, holder))


def test_a_file_is_a_sink_s_as_long_as_its_journal_names_it(lake: Lake) -> None:
    assert bronze.noted_by_sinks(lake, SystemClock()) == frozenset()
    folder = Path(lake.path(lake.sink_journal))
    folder.mkdir(parents=True)
    (folder / "1.json").write_text('{"written_at": "2026-11-01T00:00:00+00:00", "files": ["a", "b"]}')
    (folder / ".2.json.tmp").write_text('{"written_at": "2026-11-')
    assert bronze.noted_by_sinks(lake, SystemClock()) == {"a", "b"}


@pytest.mark.parametrize("column", ["user_id", "_offset"])
def test_a_damaged_page_is_no_outage(lake: Lake, holder: Holder, column: str) -> None:
    put(lake, "part-a.parquet", list(range(2_000)))
    path = Path(lake.path(f"{FOLDER}/part-a.parquet"))
    group = pq.read_metadata(path).row_group(0)
    [chunk] = [c for c in map(group.column, range(group.num_columns)) if c.path_in_schema == column]
    data = bytearray(path.read_bytes())
    middle = chunk.data_page_offset + 40  # behind the page's header
    data[middle : middle + 60] = b"\xff" * 60
    path.write_bytes(data)
    with pytest.raises(PermanentError, match=r"part-a\.parquet` cannot be read .* Restore it first"):
        [file] = bronze.search(lake, holder)
        bronze.rewrite(lake, holder, file)
