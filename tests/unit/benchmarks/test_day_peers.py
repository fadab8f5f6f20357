"""Both hand-written programs of a day judge odd properties alike, which a simulated day does not have."""

from __future__ import annotations

from datetime import UTC, date, datetime
from pathlib import Path

import duckdb
import pyarrow as pa
import pyarrow.parquet as pq

from benchmarks.day import duckdb_peer, polars_peer
from benchmarks.day.by_hand import CONTRACT, PLATFORM
from platform_core.domain.bronze_schema import bronze_schema
from platform_core.domain.catalog import load_catalog
from platform_core.settings import REPOSITORY

DAY = date(2026, 11, 20)
AT = datetime(2026, 11, 20, 12, tzinfo=UTC)

TEXTS = {
    None: True,
    "{}": True,
    '{"query":"soup","quantity":2}': True,
    '{"menu_item_id": 7, "other": [1, {"quantity": "x"}]}': True,
    '{"query":"a \\"soup\\""}': True,
    '{"query":7}': False,
    '{"quantity":"many"}': False,
    "[]": False,
    "{": False,
    "": False,
}
"""Each text, and whether it is readable."""


def test_odd_properties_are_judged_alike(tmp_path: Path) -> None:
    schema = bronze_schema(load_catalog(REPOSITORY / "domains" / "domains.yaml")["events"].contract)
    given = {"event_type": "search", "device_type": "ios", "_topic": "t", "_partition": 0, "_key": "k"}
    times = dict.fromkeys(("event_timestamp", "_kafka_timestamp", "_ingested_at"), AT)
    rows = [
        dict.fromkeys([*CONTRACT, *PLATFORM])
        | given
        | times
        | {"event_id": f"e{number}", "_offset": number, "properties": text}
        for number, text in enumerate(TEXTS)
    ]
    file = str(tmp_path / "part.parquet")
    pq.write_table(pa.Table.from_pylist(rows, schema=schema), file)

    by_polars = polars_peer.judged([file], DAY).sort("event_id").select("event_id", "reason", "record_hash").rows()
    query = f"select event_id, reason, record_hash from ({duckdb_peer.judged([file], DAY.isoformat())}) order by 1"
    with duckdb.connect() as connection:
        connection.execute("set timezone = 'UTC'")
        by_duckdb = connection.execute(query).fetchall()

    assert by_polars == by_duckdb
    assert [reason == "" for _, reason, _ in by_polars] == list(TEXTS.values())
    assert {reason.partition(":")[0] for _, reason, _ in by_polars} == {"", "properties_readable"}
