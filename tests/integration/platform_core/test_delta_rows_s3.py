"""Rows of a Delta table in a bucket: read with the lake's keys and endpoint, and what it means that they cannot be."""

from __future__ import annotations

from datetime import date

import pyarrow as pa
import pytest
from deltalake import write_deltalake

from infra.embedded.services.object_store import ObjectStore
from platform_core.errors import ServiceDownError
from platform_core.lake.delta_rows import read_date, rows_of
from platform_core.lake.lake import Lake
from platform_core.lake.lake_errors import answering, outage
from platform_core.settings import Settings
from tests.rigs.lake.told_store import told_store

DAY = date(2026, 11, 25)
ROWS = pa.table({"day": [DAY, DAY], "n": [1, 2]})


def test_a_date_in_a_bucket_is_read_and_a_file_that_is_gone_is_no_outage(object_store: ObjectStore) -> None:
    lake = Lake(Settings.of(object_store.env() | {"LAKE_URI": "s3://lake/delta_rows"}))
    write_deltalake(lake.uri("silver/t"), ROWS, partition_by=["day"], storage_options=lake.storage_options)
    table = lake.delta("silver/t")
    assert read_date(lake, table, "day", DAY, ROWS.column_names).equals(ROWS)

    [file] = rows_of(lake, table).files
    lake.filesystem.delete_file(lake.path(f"silver/t/{file}"))
    with pytest.raises(FileNotFoundError) as gone:
        read_date(lake, table, "day", DAY)
    assert outage(gone.value) is None

    with told_store() as nobody:
        settings = nobody.settings(s3_max_attempts=1)
    with pytest.raises(ServiceDownError), answering(lake.uri("silver/t"), "read"):
        read_date(Lake(settings), table, "day", DAY)
