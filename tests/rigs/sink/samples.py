"""One good record of two domains, and a time at which they are of yesterday."""

from __future__ import annotations

from datetime import UTC, datetime

import msgspec

from sink.records.decoding import Record
from sink.records.rows import Rows

NOW = datetime(2026, 3, 2, 12, tzinfo=UTC)

EVENT = {
    "event_id": "e1",
    "event_type": "search",
    "event_timestamp": "2026-03-01T10:00:00.123456Z",
    "user_id": 7,
    "session_id": "s1",
    "device_type": "ios",
    "city": None,
    "restaurant_id": 3,
    "order_id": None,
    "properties": {"query": "pizza"},
}

ORDER = {
    "order_id": 1,
    "user_id": 7,
    "restaurant_id": 3,
    "city": "Berlin",
    "status": "placed",
    "currency": "EUR",
    "payment_method": "card",
    "subtotal": "10.40",
    "delivery_fee": "2.50",
    "discount": "0.00",
    "total": "12.90",
    "items": [{"menu_item_id": 1, "name": "Pizza", "quantity": 2, "unit_price": "5.20"}],
    "created_at": "2026-03-01T10:00:00Z",
    "updated_at": "2026-03-01T10:05:00Z",
}


def encoded(record: dict, **changes: object) -> bytes:
    return msgspec.json.encode({k: v for k, v in {**record, **changes}.items() if v is not ...})


def rows_of(*rows: tuple[int, int, Record | None], timestamp: int | None = None, size: int = 100) -> Rows:
    """Return rows of Kafka partitions, offsets and decoded records; without a record a row has no column."""
    result = Rows()
    for partition, offset, record in rows:
        record = record or Record([], NOW.date(), "k", None, None)
        result.extend(Rows.of_record(partition, offset, timestamp, record, size))
    return result
