"""A sink as one writes it in an hour: a pandas frame for each thousand records of a date.

`... pandas_sink TOPIC RECORDS`, Kafka and LAKE_URI from the environment. It validates nothing, and a crash
loses or repeats what it had in hand.
"""

from __future__ import annotations

import json
import sys
import time
import uuid
from collections import defaultdict
from pathlib import Path
from typing import Any

import pandas as pd  # type: ignore[import-untyped]  # noqa: TID251  (it is what the platform is compared with)
from confluent_kafka import Consumer

from platform_core.settings import settings
from platform_kafka.topics import kafka_client_config

GROUP = "pandas-sink"
FLUSH_ROWS = 1_000


def main(topic: str, records: int) -> None:
    """Consume so many records into Parquet files, a folder a date."""
    folder = Path(settings().lake_uri)
    config = {"group.id": GROUP, "auto.offset.reset": "earliest", "enable.auto.commit": False}
    consumer = Consumer({**kafka_client_config(settings()), **config})
    consumer.subscribe([topic])
    rows: dict[str, list[dict[str, Any]]] = defaultdict(list)
    count = 0
    while count < records:
        for message in consumer.consume(FLUSH_ROWS, 0.25):
            if message.error() is not None:
                continue
            row = json.loads(message.value() or b"")
            row["properties"] = json.dumps(row["properties"])
            row |= {"_partition": message.partition(), "_offset": message.offset(), "_ingested_at": time.time()}
            day = row["event_timestamp"][:10]
            rows[day].append(row)
            count += 1
            if len(rows[day]) == FLUSH_ROWS:
                _write(folder, day, rows.pop(day))
                consumer.commit(asynchronous=False)
    for day, remaining in rows.items():
        _write(folder, day, remaining)
    consumer.commit(asynchronous=False)
    consumer.close()


def _write(folder: Path, day: str, rows: list[dict[str, Any]]) -> None:
    target = folder / f"event_date={day}"
    target.mkdir(parents=True, exist_ok=True)
    pd.DataFrame(rows).to_parquet(target / f"{uuid.uuid4()}.parquet", compression="snappy", index=False)


if __name__ == "__main__":
    main(sys.argv[1], int(sys.argv[2]))
